/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the operator's master key. The file may be a symbolic link, as secrets mounted by
 * Kubernetes are; what it leads to is what gets checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "storage/file.h"
#include "storage/keyring.h"

#define KEK_HEX_BYTES  ((size_t)2 * SR_KEY_BYTES)
#define KEK_FILE_BYTES (KEK_HEX_BYTES + 1) /* hexadecimal and a newline */

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* @text has @size bytes; returns whether they are a key. */
static int parse_kek(const uint8_t *text, size_t size, uint8_t kek[SR_KEY_BYTES])
{
    if (size == SR_KEY_BYTES) {
        memcpy(kek, text, SR_KEY_BYTES);
        return 1;
    }
    if (size == KEK_FILE_BYTES && text[KEK_HEX_BYTES] == '\n') {
        size--;
    }
    if (size != KEK_HEX_BYTES) {
        return 0;
    }
    for (size_t i = 0; i < SR_KEY_BYTES; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }
        kek[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

static int check_file(const char *path, int fd, struct sr_err *err)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        return sr_err_errno(err, SR_IO, errno, "key file %s", path);
    }
    if (!S_ISREG(stat.st_mode)) {
        return sr_err_set(err, SR_KEY, "key file %s: not a regular file", path);
    }
    if ((stat.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return sr_err_set(err, SR_KEY,
                          "key file %s: mode %03o lets others in; only its owner may read it", path,
                          (unsigned)(stat.st_mode & 0777));
    }
    return SR_OK;
}

int sr_kek_read(const char *path, uint8_t **ret_kek, struct sr_err *err)
{
    uint8_t *text = NULL;
    uint8_t *kek = NULL;
    int64_t size;

    /* Not to hang on a named pipe. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int status = errno == ENOENT ? SR_NOT_FOUND : errno == EACCES ? SR_KEY : SR_IO;
        return sr_err_errno(err, status, errno, "key file %s", path);
    }
    int status = check_file(path, fd, err);
    if (status != SR_OK) {
        goto out;
    }
    text = sr_secret_alloc(KEK_FILE_BYTES + 1);
    size = sr_file_pread(fd, text, KEK_FILE_BYTES + 1, 0);
    if (size < 0) {
        status = sr_err_errno(err, SR_IO, (int)-size, "key file %s", path);
        goto out;
    }
    kek = sr_secret_alloc(SR_KEY_BYTES);
    if (!parse_kek(text, (size_t)size, kek)) {
        status = sr_err_set(err, SR_KEY, "key file %s: expected 32 bytes or 64 hexadecimal digits",
                            path);
        goto out;
    }
    *ret_kek = kek;
    kek = NULL;
out:
    sr_secret_free(kek, SR_KEY_BYTES);
    sr_secret_free(text, KEK_FILE_BYTES + 1);
    close(fd);
    return status;
}
