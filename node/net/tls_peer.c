/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is at the other end of a TLS connection, and why it failed.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/check.h"
#include "node/net/tls_internal.h"

static int describe_verify(long verify, const char *server_name, struct sr_err *err)
{
    if (verify == X509_V_ERR_HOSTNAME_MISMATCH || verify == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        return sr_err_set(err, SR_REFUSED,
                          "TLS: the certificate of the other side does not carry the name %s",
                          server_name);
    }
    return sr_err_set(err, SR_REFUSED, "TLS: the certificate of the other side: %s",
                      X509_verify_cert_error_string(verify));
}

int sr_tls_explain(SSL *ssl, const char *server_name, struct sr_err *err)
{
    unsigned long code = ERR_peek_error();
    bool is_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
    bool is_alert = is_ssl && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET;
    bool is_certificate = is_ssl && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    const char *reason = sr_tls_take_reason();
    if (is_alert) {
        return sr_err_set(err, SR_REFUSED, "TLS: the other side refused: %s", reason);
    }
    long verify = SSL_get_verify_result(ssl);
    if (is_certificate && verify != X509_V_OK) {
        return describe_verify(verify, server_name, err);
    }
    bool is_open = SSL_is_init_finished(ssl) == 1;
    return sr_err_set(err, is_open ? SR_NETWORK : SR_REFUSED, "TLS: %s", reason);
}

int sr_tls_check_peer(const SSL *ssl, const struct sr_tls *tls, const char *server_name,
                      struct sr_err *err)
{
    long verify = SSL_get_verify_result(ssl);
    if (SSL_get0_peer_certificate(ssl) == NULL) {
        return sr_err_set(err, SR_REFUSED, "TLS: the other side showed no certificate");
    }
    if (verify != X509_V_OK) {
        return describe_verify(verify, server_name, err);
    }
    const unsigned char *wanted = tls->alpn;
    if (wanted[0] != 0) {
        const unsigned char *chosen = NULL;
        unsigned size = 0;
        SSL_get0_alpn_selected(ssl, &chosen, &size);
        if (size != wanted[0] || memcmp(chosen, wanted + 1, size) != 0) {
            return sr_err_set(err, SR_REFUSED, "TLS: the other side does not speak %.255s",
                              (const char *)wanted + 1);
        }
    }
    return SR_OK;
}

bool sr_tls_peer_has_dns_name(const SSL *ssl, const char *name)
{
    /* A leading dot would ask OpenSSL for any name below a domain. */
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    if (certificate == NULL || name[0] == '\0' || name[0] == '.') {
        return false;
    }
    unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    bool has = X509_check_host(certificate, name, 0, flags, NULL) == 1;
    ERR_clear_error();
    return has;
}

bool sr_tls_peer_key(const SSL *ssl, uint8_t ret_key[32])
{
    const X509 *certificate = SSL_get0_peer_certificate(ssl);
    unsigned size = 0;
    return certificate != NULL &&
           X509_pubkey_digest(certificate, EVP_sha256(), ret_key, &size) == 1 && size == 32;
}
