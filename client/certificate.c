/* SPDX-License-Identifier: Apache-2.0 */
#include "client/certificate.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "client/newfile.h"

#define SERIAL_BYTES   16   /* RFC 5280: at most 20, positive */
#define BACKDATED_SECS 3600 /* clocks of different machines */

static int crypto_failed(struct sr_err *err, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return sr_err_set(err, SR_CRYPTO, "%s: %s", what, reason == NULL ? "failed" : reason);
}

/* ---- The CA, as it lies on disk ---- */

struct issuer {
    X509 *certificate;
    EVP_PKEY *key;
};

static void issuer_close(struct issuer *issuer)
{
    X509_free(issuer->certificate);
    EVP_PKEY_free(issuer->key);
}

static BIO *open_pem(const char *path, struct sr_err *err)
{
    BIO *bio = BIO_new_file(path, "r");
    if (bio == NULL) {
        sr_err_set(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO,
                   "%s: %s; `strongroom pki ca` makes one", path, strerror(errno));
    }
    return bio;
}

static int issuer_open(const struct sr_certificate_request *request, struct issuer *issuer,
                       struct sr_err *err)
{
    BIO *bio = open_pem(request->ca_certificate, err);
    if (bio == NULL) {
        return err->status;
    }
    issuer->certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    struct stat status;
    if (stat(request->ca_key, &status) == 0 && (status.st_mode & 077) != 0) {
        return sr_err_set(err, SR_KEY, "%s: others than its owner may read it (chmod 600)",
                          request->ca_key);
    }
    bio = open_pem(request->ca_key, err);
    if (bio == NULL) {
        return err->status;
    }
    issuer->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    if (issuer->certificate == NULL || issuer->key == NULL ||
        X509_check_private_key(issuer->certificate, issuer->key) != 1) {
        return sr_err_set(err, SR_KEY, "%s and %s are not a certificate and its key",
                          request->ca_certificate, request->ca_key);
    }
    return SR_OK;
}

/* ---- Extensions ---- */

static bool add_text(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool added = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

/* Takes over @value. */
static bool push_name(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (name == NULL || value == NULL) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return false;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (sk_GENERAL_NAME_push(names, name) == 0) {
        GENERAL_NAME_free(name);
        return false;
    }
    return true;
}

/* Names are put in as values, never through OpenSSL's configuration syntax, in which a comma
 * would begin another name. */
static int add_names(X509 *certificate, const struct sr_certificate_request *request,
                     struct sr_err *err)
{
    if (request->dns_count + request->address_count == 0) {
        return SR_OK;
    }
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    bool done = names != NULL;
    for (size_t i = 0; done && i < request->dns_count; i++) {
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        done = text != NULL && ASN1_STRING_set(text, request->dns_names[i], -1) == 1;
        done = push_name(names, GEN_DNS, text) && done;
    }
    for (size_t i = 0; done && i < request->address_count; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(request->addresses[i]);
        if (address == NULL) {
            GENERAL_NAMES_free(names);
            return sr_err_set(err, SR_INVALID, "%s: not an IP address", request->addresses[i]);
        }
        done = push_name(names, GEN_IPADD, address);
    }
    done = done && X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0) == 1;
    GENERAL_NAMES_free(names);
    return done ? SR_OK : crypto_failed(err, "subject alternative names");
}

static int add_extensions(X509 *certificate, X509 *issuer,
                          const struct sr_certificate_request *request, struct sr_err *err)
{
    bool is_ca = request->kind == SR_CERTIFICATE_CA;
    const char *purposes =
        request->kind == SR_CERTIFICATE_NODE ? "serverAuth,clientAuth" : "clientAuth";
    bool done =
        add_text(certificate, issuer, NID_basic_constraints,
                 is_ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
        add_text(certificate, issuer, NID_key_usage,
                 is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
        (is_ca || add_text(certificate, issuer, NID_ext_key_usage, purposes)) &&
        add_text(certificate, issuer, NID_subject_key_identifier, "hash") &&
        (is_ca || add_text(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
    return done ? add_names(certificate, request, err) : crypto_failed(err, "extensions");
}

/* ---- The certificate ---- */

static bool set_serial(X509 *certificate)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return false;
    }
    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and always as long */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool done =
        number != NULL && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
    BN_free(number);
    return done;
}

static bool set_basics(X509 *certificate, EVP_PKEY *key, const X509 *issuer,
                       const struct sr_certificate_request *request)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    return X509_set_version(certificate, X509_VERSION_3) == 1 && set_serial(certificate) &&
           X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)request->common_name, -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -BACKDATED_SECS) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(certificate), (int)request->days, 0, NULL) != NULL &&
           X509_set_pubkey(certificate, key) == 1;
}

static int write_pem(BIO *bio, const char *path, mode_t mode, struct sr_err *err)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);
    return sr_newfile_write(path, mode, data, (size_t)size, err);
}

static int write_both(X509 *certificate, EVP_PKEY *key, const char *certificate_path,
                      const char *key_path, struct sr_err *err)
{
    BIO *certificate_pem = BIO_new(BIO_s_mem());
    BIO *key_pem = BIO_new(BIO_s_secmem());
    int status = SR_OK;
    if (certificate_pem == NULL || key_pem == NULL ||
        PEM_write_bio_X509(certificate_pem, certificate) != 1 ||
        PEM_write_bio_PKCS8PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
        status = crypto_failed(err, "PEM");
    } else if ((status = write_pem(key_pem, key_path, 0600, err)) == SR_OK &&
               (status = write_pem(certificate_pem, certificate_path, 0644, err)) != SR_OK) {
        unlink(key_path);
    }
    BIO_free(certificate_pem);
    BIO_free(key_pem);
    return status;
}

static int sign_and_write(const struct sr_certificate_request *request, const struct issuer *issuer,
                          const char *certificate_path, const char *key_path, struct sr_err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    bool is_ca = request->kind == SR_CERTIFICATE_CA;
    X509 *signer = is_ca ? certificate : issuer->certificate;
    int status = SR_OK;
    if (key == NULL || certificate == NULL || !set_basics(certificate, key, signer, request)) {
        status = crypto_failed(err, "certificate");
    } else if ((status = add_extensions(certificate, signer, request, err)) == SR_OK) {
        status = X509_sign(certificate, is_ca ? key : issuer->key, EVP_sha256()) > 0
                     ? write_both(certificate, key, certificate_path, key_path, err)
                     : crypto_failed(err, "signature");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
    return status;
}

int sr_certificate_make(const struct sr_certificate_request *request, const char *certificate_path,
                        const char *key_path, struct sr_err *err)
{
    if (access(certificate_path, F_OK) == 0) {
        return sr_err_set(err, SR_EXISTS, "%s: exists already, and is not overwritten",
                          certificate_path);
    }
    struct issuer issuer = {0};
    int status = SR_OK;
    if (request->kind != SR_CERTIFICATE_CA) {
        status = issuer_open(request, &issuer, err);
    }
    if (status == SR_OK) {
        status = sign_and_write(request, &issuer, certificate_path, key_path, err);
    }
    issuer_close(&issuer);
    return status;
}
