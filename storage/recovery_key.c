/* SPDX-License-Identifier: Apache-2.0
 *
 * Recovery keys: from 32 random bytes to two key pairs, to a line of text, and back.
 *
 *   private   BASE64(root 32, checksum 4)
 *   public    BASE64(X25519 32, Ed25519 32, checksum 4)
 *
 * The checksum is the beginning of SHA-256 over the first word of the line and what is before it,
 * so that a slip is noticed when a line is typed in, and not when it opens nothing.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/secret.h"
#include "storage/archive_key.h"
#include "storage/file.h"
#include "storage/hkdf.h"
#include "storage/seal.h"
#include "storage/signature.h"

#define PUBLIC_WORD    "strongroom-recovery-public-1"
#define PRIVATE_WORD   "strongroom-recovery-private-1"
#define X25519_LABEL   "strongroom recovery x25519"
#define PROOF_LABEL    "strongroom recovery proof"
#define ID_LABEL       "strongroom recovery key id"

#define CHECKSUM_BYTES 4
#define ROOT_BYTES     32
#define PUBLIC_BYTES   (32 + SR_SIGNING_BYTES)
#define BLOB_BYTES_MAX (PUBLIC_BYTES + CHECKSUM_BYTES)
#define BASE64_MAX     ((BLOB_BYTES_MAX + 2) / 3 * 4)
#define FILE_BYTES_MAX 4096

/* ---- Making ---- */

/* SHA-256 over @label, a 0 byte and @data. */
static int labelled(const char *label, struct sr_bytes data, uint8_t ret[SR_SHA256_BYTES],
                    struct sr_err *err)
{
    uint8_t *message = sr_secret_alloc(strlen(label) + 1 + data.size);
    size_t size = strlen(label) + 1;
    memcpy(message, label, size);
    memcpy(message + size, data.data, data.size);
    int rc = sr_sha256((struct sr_bytes){message, size + data.size}, ret, err);
    sr_secret_free(message, size + data.size);
    return rc;
}

static int public_id(struct sr_recovery_public *key, struct sr_err *err)
{
    uint8_t both[PUBLIC_BYTES];
    uint8_t digest[SR_SHA256_BYTES];
    memcpy(both, key->x25519, 32);
    memcpy(both + 32, key->proof, SR_SIGNING_BYTES);
    int rc = labelled(ID_LABEL, (struct sr_bytes){both, sizeof(both)}, digest, err);
    if (rc == SR_OK) {
        memcpy(key->id, digest, SR_KEY_ID_BYTES);
    }
    return rc;
}

static int derive_halves(struct sr_recovery_private *key, struct sr_err *err)
{
    struct sr_bytes root = {key->root, ROOT_BYTES};
    struct sr_bytes none = {0};
    int rc = sr_hkdf(root, none, sr_bytes_of(X25519_LABEL), key->x25519, err);
    if (rc == SR_OK) {
        rc = sr_hkdf(root, none, sr_bytes_of(PROOF_LABEL), key->proof_seed, err);
    }
    if (rc == SR_OK) {
        rc = sr_x25519_public(key->x25519, key->public_half.x25519, err);
    }
    if (rc == SR_OK) {
        rc = sr_ed25519_public(key->proof_seed, key->public_half.proof, err);
    }
    return rc == SR_OK ? public_id(&key->public_half, err) : rc;
}

static int private_of(const uint8_t root[ROOT_BYTES], struct sr_recovery_private **ret,
                      struct sr_err *err)
{
    struct sr_recovery_private *key = sr_secret_alloc(sizeof(*key));
    memcpy(key->root, root, ROOT_BYTES);
    int rc = derive_halves(key, err);
    if (rc != SR_OK) {
        sr_recovery_private_free(key);
        return rc;
    }
    *ret = key;
    return SR_OK;
}

int sr_recovery_draw(struct sr_recovery_private **ret, struct sr_err *err)
{
    uint8_t root[ROOT_BYTES];
    sr_random_bytes(root, sizeof(root));
    int rc = private_of(root, ret, err);
    sr_secret_wipe(root, sizeof(root));
    return rc;
}

void sr_recovery_private_free(struct sr_recovery_private *key)
{
    sr_secret_free(key, sizeof(*key));
}

/* ---- Text ---- */

static void format(const char *word, struct sr_bytes data,
                   char ret_text[SR_RECOVERY_TEXT_CHARS_MAX])
{
    uint8_t blob[BLOB_BYTES_MAX];
    uint8_t digest[SR_SHA256_BYTES];
    char base64[BASE64_MAX + 1];
    sr_check(data.size + CHECKSUM_BYTES <= sizeof(blob));
    sr_check(labelled(word, data, digest, NULL) == SR_OK);
    memcpy(blob, data.data, data.size);
    memcpy(blob + data.size, digest, CHECKSUM_BYTES);
    (void)EVP_EncodeBlock((unsigned char *)base64, blob, (int)(data.size + CHECKSUM_BYTES));
    (void)snprintf(ret_text, SR_RECOVERY_TEXT_CHARS_MAX, "%s %s", word, base64);
    sr_secret_wipe(blob, sizeof(blob));
    sr_secret_wipe(base64, sizeof(base64));
}

void sr_recovery_public_format(const struct sr_recovery_public *key,
                               char ret_text[SR_RECOVERY_TEXT_CHARS_MAX])
{
    uint8_t both[PUBLIC_BYTES];
    memcpy(both, key->x25519, 32);
    memcpy(both + 32, key->proof, SR_SIGNING_BYTES);
    format(PUBLIC_WORD, (struct sr_bytes){both, sizeof(both)}, ret_text);
}

void sr_recovery_private_format(const struct sr_recovery_private *key,
                                char ret_text[SR_RECOVERY_TEXT_CHARS_MAX])
{
    format(PRIVATE_WORD, (struct sr_bytes){key->root, ROOT_BYTES}, ret_text);
}

static struct sr_bytes trimmed(const char *text, size_t size)
{
    while (size > 0 && isspace((unsigned char)text[size - 1])) {
        size--;
    }
    while (size > 0 && isspace((unsigned char)text[0])) {
        text++;
        size--;
    }
    return (struct sr_bytes){(const uint8_t *)text, size};
}

/* Strict: exactly what EVP_EncodeBlock makes of @size bytes. */
static bool decode_base64(struct sr_bytes text, uint8_t *out, size_t size)
{
    uint8_t padded[BASE64_MAX];
    char again[BASE64_MAX + 1];
    size_t chars = (size + 2) / 3 * 4;
    bool good = text.size == chars && chars <= sizeof(padded) &&
                EVP_DecodeBlock(padded, text.data, (int)chars) == (int)(chars / 4 * 3);
    if (good) {
        (void)EVP_EncodeBlock((unsigned char *)again, padded, (int)size);
        good = memcmp(again, text.data, chars) == 0;
        memcpy(out, padded, size);
    }
    sr_secret_wipe(padded, sizeof(padded));
    sr_secret_wipe(again, sizeof(again));
    return good;
}

/* What stands behind @word: @size bytes and their checksum. */
static int parse(const char *word, struct sr_bytes line, uint8_t *out, size_t size,
                 struct sr_err *err)
{
    uint8_t blob[BLOB_BYTES_MAX];
    uint8_t digest[SR_SHA256_BYTES];
    size_t head = strlen(word) + 1;
    if (line.size < head || memcmp(line.data, word, head - 1) != 0 || line.data[head - 1] != ' ') {
        return sr_err_set(err, SR_KEY, "it does not begin with \"%s\"", word);
    }
    if (!decode_base64((struct sr_bytes){line.data + head, line.size - head}, blob,
                       size + CHECKSUM_BYTES)) {
        sr_secret_wipe(blob, sizeof(blob));
        return sr_err_set(err, SR_KEY, "what follows \"%s\" is not the Base64 of %zu bytes", word,
                          size + CHECKSUM_BYTES);
    }
    int rc = labelled(word, (struct sr_bytes){blob, size}, digest, err);
    if (rc == SR_OK && memcmp(digest, blob + size, CHECKSUM_BYTES) != 0) {
        rc = sr_err_set(err, SR_KEY,
                        "its checksum is wrong: a character differs from what was "
                        "written down");
    }
    if (rc == SR_OK) {
        memcpy(out, blob, size);
    }
    sr_secret_wipe(blob, sizeof(blob));
    return rc;
}

static bool begins_with(struct sr_bytes line, const char *word)
{
    return line.size >= strlen(word) && memcmp(line.data, word, strlen(word)) == 0;
}

int sr_recovery_public_parse(const char *text, size_t size, struct sr_recovery_public *ret,
                             struct sr_err *err)
{
    struct sr_bytes line = trimmed(text, size);
    struct sr_recovery_public key;
    uint8_t both[PUBLIC_BYTES];
    if (begins_with(line, PRIVATE_WORD)) {
        return sr_err_set(err, SR_KEY,
                          "this is a private recovery key, which belongs to people: "
                          "nodes need the public one");
    }
    int rc = parse(PUBLIC_WORD, line, both, sizeof(both), err);
    if (rc != SR_OK) {
        return rc;
    }
    memcpy(key.x25519, both, 32);
    memcpy(key.proof, both + 32, SR_SIGNING_BYTES);
    rc = public_id(&key, err);
    if (rc == SR_OK) {
        *ret = key;
    }
    return rc;
}

int sr_recovery_private_parse(const char *text, size_t size, struct sr_recovery_private **ret,
                              struct sr_err *err)
{
    struct sr_bytes line = trimmed(text, size);
    uint8_t root[ROOT_BYTES];
    if (begins_with(line, PUBLIC_WORD)) {
        return sr_err_set(err, SR_KEY,
                          "this is a public recovery key: only the private one, which "
                          "was printed once, opens archives");
    }
    int rc = parse(PRIVATE_WORD, line, root, sizeof(root), err);
    if (rc == SR_OK) {
        rc = private_of(root, ret, err);
    }
    sr_secret_wipe(root, sizeof(root));
    return rc;
}

/* ---- Files ---- */

static int check_file(int fd, bool secret, struct sr_err *err)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0) {
        return sr_err_errno(err, SR_IO, errno, "fstat");
    }
    if (!S_ISREG(stat.st_mode)) {
        return sr_err_set(err, SR_KEY, "not a regular file");
    }
    if (secret && (stat.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return sr_err_set(err, SR_KEY, "mode %03o lets others in; only its owner may read it",
                          (unsigned)(stat.st_mode & 0777));
    }
    return SR_OK;
}

static int read_text(const char *path, bool secret, char *text, size_t *ret_size,
                     struct sr_err *err)
{
    /* Not to hang on a named pipe. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        int status = errno == ENOENT ? SR_NOT_FOUND : errno == EACCES ? SR_KEY : SR_IO;
        return sr_err_errno(err, status, errno, "open");
    }
    int rc = check_file(fd, secret, err);
    if (rc == SR_OK) {
        int64_t size = sr_file_pread(fd, text, FILE_BYTES_MAX, 0);
        if (size < 0) {
            rc = sr_err_errno(err, SR_IO, (int)-size, "read");
        } else if (size == FILE_BYTES_MAX) {
            rc = sr_err_set(err, SR_KEY, "larger than any recovery key");
        } else {
            *ret_size = (size_t)size;
        }
    }
    close(fd);
    return rc;
}

/* The first line that is neither empty nor a comment; the rest must be. */
static int find_line(const char *text, size_t size, struct sr_bytes *ret, struct sr_err *err)
{
    struct sr_bytes found = {0};
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end != NULL ? (size_t)(end - (text + at)) : size - at;
        struct sr_bytes line = trimmed(text + at, length);
        if (line.size > 0 && line.data[0] != '#') {
            if (found.size > 0) {
                return sr_err_set(err, SR_KEY, "it has more than one line");
            }
            found = line;
        }
        at += length + 1;
    }
    if (found.size == 0) {
        return sr_err_set(err, SR_KEY, "there is no key in it");
    }
    *ret = found;
    return SR_OK;
}

int sr_recovery_public_read(const char *path, struct sr_recovery_public *ret, struct sr_err *err)
{
    char text[FILE_BYTES_MAX];
    size_t size = 0;
    struct sr_bytes line;
    int rc = read_text(path, false, text, &size, err);
    if (rc == SR_OK) {
        rc = find_line(text, size, &line, err);
    }
    if (rc == SR_OK) {
        rc = sr_recovery_public_parse((const char *)line.data, line.size, ret, err);
    }
    sr_secret_wipe(text, sizeof(text)); /* in case it is the private one */
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "recovery key %s", path);
}

int sr_recovery_private_read(const char *path, struct sr_recovery_private **ret, struct sr_err *err)
{
    char *text = sr_secret_alloc(FILE_BYTES_MAX);
    size_t size = 0;
    struct sr_bytes line;
    int rc = read_text(path, true, text, &size, err);
    if (rc == SR_OK) {
        rc = find_line(text, size, &line, err);
    }
    if (rc == SR_OK) {
        rc = sr_recovery_private_parse((const char *)line.data, line.size, ret, err);
    }
    sr_secret_free(text, FILE_BYTES_MAX);
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "recovery key %s", path);
}
