/* SPDX-License-Identifier: Apache-2.0 */
#include "test_pki.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define DAY_S  86400
#define HOUR_S 3600

static void path_of(char out[512], const char *dir, const char *stem, const char *ending)
{
    int size = snprintf(out, 512, "%s/%s.%s", dir, stem, ending);
    sr_check(size > 0 && size < 512);
}

static FILE *create(const char *dir, const char *stem, const char *ending)
{
    char path[512];
    path_of(path, dir, stem, ending);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    sr_check(fd >= 0);
    FILE *file = fdopen(fd, "w");
    sr_check(file != NULL);
    return file;
}

static void save(const char *dir, const char *stem, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = create(dir, stem, "crt");
    sr_check(PEM_write_X509(file, certificate) == 1);
    fclose(file);
    file = create(dir, stem, "key");
    sr_check(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

static void load(const char *dir, const char *stem, X509 **ret_certificate, EVP_PKEY **ret_key)
{
    char path[512];
    path_of(path, dir, stem, "crt");
    FILE *file = fopen(path, "r");
    sr_check(file != NULL);
    *ret_certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    path_of(path, dir, stem, "key");
    file = fopen(path, "r");
    sr_check(file != NULL);
    *ret_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    sr_check(*ret_certificate != NULL && *ret_key != NULL);
}

/* Unsigned, with what all have. */
static X509 *draft(const char *common_name, EVP_PKEY *key, long not_after_s)
{
    unsigned char serial[8];
    X509 *certificate = X509_new();
    sr_check(certificate != NULL && RAND_bytes(serial, sizeof(serial)) == 1);
    serial[0] = (unsigned char)((serial[0] & 0x7f) | 1);
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    sr_check(BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL);
    BN_free(number);
    sr_check(X509_set_version(certificate, X509_VERSION_3) == 1);
    sr_check(X509_gmtime_adj(X509_getm_notBefore(certificate), -DAY_S) != NULL);
    sr_check(X509_gmtime_adj(X509_getm_notAfter(certificate), not_after_s) != NULL);
    sr_check(X509_set_pubkey(certificate, key) == 1);
    X509_NAME *name = X509_get_subject_name(certificate);
    sr_check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                        (const unsigned char *)common_name, -1, -1, 0) == 1);
    return certificate;
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    sr_check(extension != NULL);
    sr_check(X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

void test_pki_make_ca(const char *dir, const char *ca_name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    sr_check(key != NULL);
    X509 *certificate = draft(ca_name, key, DAY_S);
    sr_check(X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1);
    extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
    extend(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(certificate, certificate, NID_subject_key_identifier, "hash");
    sr_check(X509_sign(certificate, key, EVP_sha256()) > 0);
    save(dir, ca_name, certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* "a,b" and "127.0.0.1" to "DNS:a,DNS:b,IP:127.0.0.1". */
static void format_san(char out[1024], const char *dns_names, const char *ip)
{
    char names[512];
    size_t used = 0;
    out[0] = '\0';
    snprintf(names, sizeof(names), "%s", dns_names == NULL ? "" : dns_names);
    char *rest = names;
    for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ",")) {
        if (name[0] != '\0') {
            used +=
                (size_t)snprintf(out + used, 1024 - used, "%sDNS:%s", used > 0 ? "," : "", name);
            sr_check(used < 1024);
        }
    }
    if (ip != NULL) {
        used += (size_t)snprintf(out + used, 1024 - used, "%sIP:%s", used > 0 ? "," : "", ip);
        sr_check(used < 1024);
    }
}

static void issue(const char *dir, const char *ca_name, const char *file_stem,
                  const char *common_name, const char *san, long not_after_s)
{
    X509 *ca = NULL;
    EVP_PKEY *ca_key = NULL;
    load(dir, ca_name, &ca, &ca_key);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    sr_check(key != NULL);
    X509 *certificate = draft(common_name, key, not_after_s);
    sr_check(X509_set_issuer_name(certificate, X509_get_subject_name(ca)) == 1);
    extend(certificate, ca, NID_basic_constraints, "critical,CA:FALSE");
    extend(certificate, ca, NID_key_usage, "critical,digitalSignature");
    extend(certificate, ca, NID_ext_key_usage, "serverAuth,clientAuth");
    extend(certificate, ca, NID_authority_key_identifier, "keyid");
    if (san[0] != '\0') {
        extend(certificate, ca, NID_subject_alt_name, san);
    }
    sr_check(X509_sign(certificate, ca_key, EVP_sha256()) > 0);
    save(dir, file_stem, certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
}

void test_pki_issue(const char *dir, const char *ca_name, const char *file_stem,
                    const char *common_name, const char *dns_names, const char *ip)
{
    char san[1024];
    format_san(san, dns_names, ip);
    issue(dir, ca_name, file_stem, common_name, san, DAY_S);
}

void test_pki_issue_expired(const char *dir, const char *ca_name, const char *file_stem,
                            const char *common_name, const char *dns_names, const char *ip)
{
    char san[1024];
    format_san(san, dns_names, ip);
    issue(dir, ca_name, file_stem, common_name, san, -HOUR_S);
}

void test_pki_make(const char *dir)
{
    test_pki_make_ca(dir, "ca");
    test_pki_issue(dir, "ca", "node-1", "node-1", "node-1,localhost", "127.0.0.1");
    test_pki_issue(dir, "ca", "node-2", "node-2", "node-2,localhost", "127.0.0.1");
    test_pki_issue(dir, "ca", "node-3", "node-3", "node-3,localhost", "127.0.0.1");
    test_pki_issue(dir, "ca", "client", "client", NULL, NULL);
    test_pki_issue(dir, "ca", "root", "root", NULL, NULL);
}
