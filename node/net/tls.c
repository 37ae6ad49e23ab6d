/* SPDX-License-Identifier: Apache-2.0
 *
 * Both sides of every connection show a certificate of the cluster's CA; there is no way to turn
 * that off. The private key is read through locked memory and its file must be its owner's alone.
 */
#include "node/net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ui.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "node/net/tls_internal.h"

/* Intermediates between the other side's own certificate and the CA. */
#define VERIFY_DEPTH_MAX 3
/* AES has hardware on every machine that we run on; 128 bits first because it is faster. */
#define CIPHER_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384"
/* A resumed session is not checked against the CA again: keep that short. */
#define SESSION_LIFETIME_S 600
/* An RSA key of 16384 bits in PEM is 13 KB. */
#define KEY_FILE_BYTES_MAX ((size_t)65536)

const char *sr_tls_take_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return reason == NULL ? "unknown failure" : reason;
}

/* OpenSSL says "no such file" in three ways: ask the system first. */
static int check_readable(const char *what, const char *path, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_INVALID, errno, "%s %s", what,
                            path);
    }
    close(fd);
    return SR_OK;
}

static int load_certificate(SSL_CTX *ctx, const char *path, struct sr_err *err)
{
    int status = check_readable("certificate", path, err);
    if (status != SR_OK) {
        return status;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1) {
        return sr_err_set(err, SR_INVALID, "certificate %s: %s", path, sr_tls_take_reason());
    }
    return SR_OK;
}

static int load_ca(SSL_CTX *ctx, const char *path, struct sr_err *err)
{
    int status = check_readable("CA certificate", path, err);
    if (status != SR_OK) {
        return status;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (names == NULL || SSL_CTX_load_verify_file(ctx, path) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return sr_err_set(err, SR_INVALID, "CA certificate %s: %s", path, sr_tls_take_reason());
    }
    SSL_CTX_set_client_CA_list(ctx, names); /* takes them */
    return SR_OK;
}

/* Without this OpenSSL asks for a pass phrase on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): the type is OpenSSL's */
static int no_pass_phrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* Nor for anything else that a file may say is under one, such as a certificate: there OpenSSL
 * takes what holds for the process. */
static int no_session(UI *ui)
{
    (void)ui;
    return 0;
}

static void forbid_terminal(void)
{
    UI_METHOD *method = UI_create_method("none");
    sr_check(method != NULL && UI_method_set_opener(method, no_session) == 0);
    UI_set_default_method(method);
}

static int parse_key(SSL_CTX *ctx, const char *path, const uint8_t *pem, size_t size,
                     struct sr_err *err)
{
    BIO *bio = BIO_new_mem_buf(pem, (int)size);
    sr_check(bio != NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL);
    BIO_free(bio);
    if (key == NULL) {
        return sr_err_set(err, SR_INVALID, "private key %s: not an unencrypted PEM key: %s", path,
                          sr_tls_take_reason());
    }
    /* Refuses a key that does not belong to the certificate loaded before. */
    int used = SSL_CTX_use_PrivateKey(ctx, key);
    EVP_PKEY_free(key);
    if (used != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        return sr_err_set(err, SR_INVALID, "private key %s: does not fit the certificate: %s", path,
                          sr_tls_take_reason());
    }
    return SR_OK;
}

static int read_key(int fd, const char *path, uint8_t *pem, size_t *ret_size, struct sr_err *err)
{
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, pem + size, KEY_FILE_BYTES_MAX - size);
        if (got < 0 && errno != EINTR) {
            return sr_err_errno(err, SR_INVALID, errno, "private key %s", path);
        }
        if (got == 0) {
            *ret_size = size;
            return SR_OK;
        }
        size += got > 0 ? (size_t)got : 0;
        if (size == KEY_FILE_BYTES_MAX) {
            return sr_err_set(err, SR_INVALID, "private key %s: larger than a key can be", path);
        }
    }
}

static int load_key(SSL_CTX *ctx, const char *path, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_INVALID, errno,
                            "private key %s", path);
    }
    uint8_t *pem = sr_secret_alloc(KEY_FILE_BYTES_MAX);
    struct stat file;
    int status = SR_OK;
    size_t size = 0;
    if (fstat(fd, &file) != 0) {
        status = sr_err_errno(err, SR_INVALID, errno, "private key %s", path);
        goto out;
    }
    if ((file.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        status = sr_err_set(err, SR_KEY,
                            "private key %s: mode %04o lets others at it; run: chmod 0600 %s", path,
                            (unsigned)file.st_mode & 07777u, path);
        goto out;
    }
    status = read_key(fd, path, pem, &size, err);
    if (status == SR_OK) {
        status = parse_key(ctx, path, pem, size, err);
    }
out:
    sr_secret_free(pem, KEY_FILE_BYTES_MAX);
    close(fd);
    return status;
}

static int set_up(SSL_CTX *ctx, const struct sr_tls_files *files, struct sr_err *err)
{
    sr_check(SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1);
    sr_check(SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1);
    sr_check(SSL_CTX_set_ciphersuites(ctx, CIPHER_SUITES) == 1);
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
    /* Idle connections give their record buffers back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH_MAX);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);

    int status = load_certificate(ctx, files->certificate, err);
    if (status == SR_OK) {
        status = load_key(ctx, files->private_key, err);
    }
    if (status == SR_OK) {
        status = load_ca(ctx, files->ca, err);
    }
    return status;
}

static int tls_new(const SSL_METHOD *method, const struct sr_tls_files *files, const char *alpn,
                   struct sr_tls **ret, struct sr_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sr_check(pthread_once(&once, forbid_terminal) == 0);
    ERR_clear_error();
    size_t alpn_size = alpn == NULL ? 0 : strlen(alpn);
    struct sr_tls *tls = sr_zalloc(sizeof(*tls));
    sr_check(alpn_size < sizeof(tls->alpn) - 1);
    atomic_init(&tls->references, 1);
    if (alpn_size > 0) {
        tls->alpn[0] = (unsigned char)alpn_size;
        memcpy(tls->alpn + 1, alpn, alpn_size);
    }
    tls->ctx = SSL_CTX_new(method);
    if (tls->ctx == NULL) {
        sr_free(tls);
        return sr_err_set(err, SR_CRYPTO, "TLS context: %s", sr_tls_take_reason());
    }
    int status = set_up(tls->ctx, files, err);
    if (status != SR_OK) {
        sr_tls_free(tls);
        return status;
    }
    *ret = tls;
    return SR_OK;
}

/* OpenSSL asks select_alpn only when the client offers something, so look before. */
static int require_alpn(SSL *ssl, int *alert, void *arg)
{
    const unsigned char *extension = NULL;
    size_t size = 0;
    (void)arg;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation,
                                  &extension, &size) == 1) {
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
}

static int select_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
                       const unsigned char *offered, unsigned offered_size, void *arg)
{
    const struct sr_tls *tls = arg;
    (void)ssl;
    size_t at = 0;
    while (at < offered_size) {
        size_t size = offered[at];
        if (size > offered_size - at - 1) {
            break;
        }
        if (size == tls->alpn[0] && memcmp(offered + at + 1, tls->alpn + 1, size) == 0) {
            *ret = offered + at + 1;
            *ret_size = (unsigned char)size;
            return SSL_TLSEXT_ERR_OK;
        }
        at += 1 + size;
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
}

int sr_tls_server_new(const struct sr_tls_files *files, const char *alpn, bool resumption,
                      struct sr_tls **ret, struct sr_err *err)
{
    static const unsigned char session_context[] = "strongroom";
    struct sr_tls *tls = NULL;
    int status = tls_new(TLS_server_method(), files, alpn, &tls, err);
    if (status != SR_OK) {
        return status;
    }
    sr_check(tls != NULL);
    if (tls->alpn[0] != 0) {
        SSL_CTX_set_client_hello_cb(tls->ctx, require_alpn, NULL);
        SSL_CTX_set_alpn_select_cb(tls->ctx, select_alpn, tls);
    }
    /* One stateless ticket, which carries the client's certificate; the context id is what lets
     * a session with a verified client be resumed at all. */
    sr_check(SSL_CTX_set_session_id_context(tls->ctx, session_context,
                                            sizeof(session_context) - 1) == 1);
    sr_check(SSL_CTX_set_num_tickets(tls->ctx, resumption ? 1 : 0) == 1);
    if (!resumption) {
        SSL_CTX_set_options(tls->ctx, SSL_OP_NO_TICKET);
    }
    SSL_CTX_set_timeout(tls->ctx, SESSION_LIFETIME_S);
    *ret = tls;
    return SR_OK;
}

int sr_tls_client_new(const struct sr_tls_files *files, const char *alpn, struct sr_tls **ret,
                      struct sr_err *err)
{
    struct sr_tls *tls = NULL;
    int status = tls_new(TLS_client_method(), files, alpn, &tls, err);
    if (status != SR_OK) {
        return status;
    }
    sr_check(tls != NULL);
    if (tls->alpn[0] != 0) {
        sr_check(SSL_CTX_set_alpn_protos(tls->ctx, tls->alpn, tls->alpn[0] + 1u) == 0);
    }
    *ret = tls;
    return SR_OK;
}

struct sr_tls *sr_tls_reference(struct sr_tls *tls)
{
    atomic_fetch_add_explicit(&tls->references, 1, memory_order_relaxed);
    return tls;
}

void sr_tls_free(struct sr_tls *tls)
{
    if (tls == NULL || atomic_fetch_sub_explicit(&tls->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    SSL_CTX_free(tls->ctx);
    sr_free(tls);
}
