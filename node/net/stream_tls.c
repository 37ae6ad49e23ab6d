/* SPDX-License-Identifier: Apache-2.0
 *
 * The SSL object of a stream: its BIO (which reads what the socket callback points it to and
 * collects what is to be sent), what its errors mean, and who the other side is.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/net/stream_internal.h"
#include "node/net/tls_internal.h"

static int bio_read(BIO *bio, char *out, size_t size, size_t *ret_size)
{
    struct sr_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->source_left == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t taken = size < stream->source_left ? size : stream->source_left;
    memcpy(out, stream->source, taken);
    stream->source += taken;
    stream->source_left -= taken;
    *ret_size = taken;
    return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *ret_size)
{
    struct sr_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    sr_buf_append(&stream->cipher, data, size);
    *ret_size = size;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void make_bio_method(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    sr_check(bio_method != NULL);
    BIO_meth_set_read_ex(bio_method, bio_read);
    BIO_meth_set_write_ex(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_control);
}

SSL *stream_ssl_new(struct sr_stream *stream)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sr_check(pthread_once(&once, make_bio_method) == 0);
    ERR_clear_error();
    SSL *ssl = SSL_new(stream->tls->ctx);
    BIO *bio = BIO_new(bio_method);
    sr_check(ssl != NULL && bio != NULL); /* only memory can fail here */
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    if (stream->is_server) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_set_connect_state(ssl);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    sr_check(SSL_set1_host(ssl, stream->server_name) == 1);
    sr_check(SSL_set_tlsext_host_name(ssl, stream->server_name) == 1);
    return ssl;
}

int stream_tls_failure(struct sr_stream *stream, int ssl_error, struct sr_err *err)
{
    if (ssl_error == SSL_ERROR_WANT_READ || ssl_error == SSL_ERROR_WANT_WRITE) {
        return SR_OK;
    }
    stream->is_tls_failed = true;
    return sr_tls_explain(stream->ssl, stream->server_name, err);
}

/* Text that can stand in a log line and name a user; "" for anything doubtful, because two common
 * names, or one with a 0 in it, can be read in two ways. */
static void take_common_name(X509 *certificate, char *out, size_t size)
{
    out[0] = '\0';
    X509_NAME *subject = X509_get_subject_name(certificate);
    int first = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (first < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, first) >= 0) {
        return;
    }
    unsigned char *text = NULL;
    int length =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, first)));
    bool usable = length > 0 && (size_t)length < size;
    for (int i = 0; usable && i < length; i++) {
        usable = text[i] >= 0x20 && text[i] != 0x7f && text[i] != '"';
    }
    if (usable) {
        memcpy(out, text, (size_t)length);
        out[length] = '\0';
    }
    if (length >= 0) {
        OPENSSL_free(text);
    }
    ERR_clear_error();
}

int stream_tls_verify(struct sr_stream *stream, struct sr_err *err)
{
    int status = sr_tls_check_peer(stream->ssl, stream->tls, stream->server_name, err);
    if (status == SR_OK) {
        take_common_name(SSL_get0_peer_certificate(stream->ssl), stream->peer_name,
                         sizeof(stream->peer_name));
    }
    return status;
}

const char *sr_stream_peer_name(const struct sr_stream *stream)
{
    return stream->peer_name;
}

bool sr_stream_peer_has_dns_name(const struct sr_stream *stream, const char *name)
{
    return sr_tls_peer_has_dns_name(stream->ssl, name);
}
