/* SPDX-License-Identifier: Apache-2.0 */
#include "node/admin/admin_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/secret.h"

#define PEM_BYTES_MAX (256 * 1024L)

/* Read @fd to the end; @size is what fstat said. False when it is not that long any more. */
static bool read_exactly(int fd, char *out, size_t size)
{
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, out + used, size - used);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return false;
        }
        used += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static int read_open(int fd, const char *path, bool secret, char **ret, size_t *ret_size,
                     struct sr_err *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return sr_err_errno(err, SR_IO, errno, "%s", path);
    }
    if (!S_ISREG(status.st_mode) || status.st_size > PEM_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "%s: not a PEM file", path);
    }
    if (secret && (status.st_mode & 077) != 0) {
        return sr_err_set(err, SR_KEY, "%s: others than its owner may read it (chmod 600)", path);
    }
    size_t size = (size_t)status.st_size;
    char *text = secret ? sr_secret_alloc(size + 1) : sr_alloc(size + 1);
    text[size] = 0;
    *ret = text; /* the caller's to release, also on failure */
    *ret_size = size + 1;
    return read_exactly(fd, text, size) ? SR_OK : sr_err_set(err, SR_IO, "%s: cut short", path);
}

static int read_pem(const char *path, bool secret, char **ret, size_t *ret_size, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, "%s", path);
    }
    int status = read_open(fd, path, secret, ret, ret_size, err);
    close(fd);
    return status;
}

int sr_admin_tls_read(const struct sr_tls_files *files, struct sr_admin_tls *ret,
                      struct sr_err *err)
{
    size_t size = 0;
    int status = read_pem(files->certificate, false, &ret->certificate, &size, err);
    if (status == SR_OK) {
        status = read_pem(files->ca, false, &ret->ca, &size, err);
    }
    if (status == SR_OK) {
        status = read_pem(files->private_key, true, &ret->private_key, &ret->private_key_size, err);
    }
    return status;
}

void sr_admin_tls_close(struct sr_admin_tls *tls)
{
    sr_free(tls->certificate);
    sr_free(tls->ca);
    sr_secret_free(tls->private_key, tls->private_key_size);
    *tls = (struct sr_admin_tls){0};
}

void sr_admin_tls_require(gnutls_session_t session)
{
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
}

bool sr_admin_tls_is_trusted(gnutls_session_t session)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                    .data = (unsigned char *)purpose};
    unsigned problems = ~0U;
    return gnutls_certificate_verify_peers(session, &wanted, 1, &problems) == GNUTLS_E_SUCCESS &&
           problems == 0;
}
