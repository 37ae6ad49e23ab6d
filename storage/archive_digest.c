/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive_digest.h"

#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/check.h"

struct sr_archive_digest {
    struct sr_archive_sink sink;        /* to be written to */
    const struct sr_archive_sink *next; /* NULL: none */
    EVP_MD_CTX *all;
    EVP_MD_CTX *group;
    size_t group_bytes; /* of the group that is being filled */
    uint64_t bytes;
    struct sr_buf groups;
};

static int failed(struct sr_err *err)
{
    return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
}

static int end_group(struct sr_archive_digest *digest, struct sr_err *err)
{
    uint8_t sum[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(digest->group, sum, NULL) != 1 ||
        EVP_DigestInit_ex2(digest->group, EVP_sha256(), NULL) != 1) {
        return failed(err);
    }
    sr_buf_append(&digest->groups, sum, SR_ARCHIVE_DIGEST_BYTES);
    digest->group_bytes = 0;
    return SR_OK;
}

static int put(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct sr_archive_digest *digest = arg;
    struct sr_reader reader = sr_reader_of(data, size);
    int rc = SR_OK;

    if (EVP_DigestUpdate(digest->all, data, size) != 1) {
        return failed(err);
    }
    while (rc == SR_OK && sr_reader_left(&reader) > 0) {
        size_t room = SR_ARCHIVE_GROUP_BYTES - digest->group_bytes;
        size_t left = sr_reader_left(&reader);
        struct sr_bytes part = sr_read_bytes(&reader, left < room ? left : room);
        if (EVP_DigestUpdate(digest->group, part.data, part.size) != 1) {
            return failed(err);
        }
        digest->group_bytes += part.size;
        if (digest->group_bytes == SR_ARCHIVE_GROUP_BYTES) {
            rc = end_group(digest, err);
        }
    }
    digest->bytes += size;
    if (rc == SR_OK && digest->next != NULL) {
        rc = digest->next->put(digest->next->arg, data, size, err);
    }
    return rc;
}

struct sr_archive_digest *sr_archive_digest_new(const struct sr_archive_sink *next)
{
    struct sr_archive_digest *digest = sr_zalloc(sizeof(*digest));

    digest->sink = (struct sr_archive_sink){.put = put, .arg = digest};
    digest->next = next;
    digest->all = EVP_MD_CTX_new();
    digest->group = EVP_MD_CTX_new();
    sr_check(digest->all != NULL && digest->group != NULL);
    sr_check(EVP_DigestInit_ex2(digest->all, EVP_sha256(), NULL) == 1);
    sr_check(EVP_DigestInit_ex2(digest->group, EVP_sha256(), NULL) == 1);
    return digest;
}

void sr_archive_digest_free(struct sr_archive_digest *digest)
{
    if (digest == NULL) {
        return;
    }
    EVP_MD_CTX_free(digest->all);
    EVP_MD_CTX_free(digest->group);
    sr_buf_close(&digest->groups);
    sr_free(digest);
}

const struct sr_archive_sink *sr_archive_digest_sink(struct sr_archive_digest *digest)
{
    return &digest->sink;
}

int sr_archive_digest_end(struct sr_archive_digest *digest, struct sr_archive_digests *ret,
                          struct sr_err *err)
{
    int rc = digest->group_bytes > 0 ? end_group(digest, err) : SR_OK;

    if (rc != SR_OK) {
        return rc;
    }
    if (EVP_DigestFinal_ex(digest->all, ret->sha256, NULL) != 1) {
        return failed(err);
    }
    ret->bytes = digest->bytes;
    ret->groups = digest->groups.data;
    ret->group_count = digest->groups.size / SR_ARCHIVE_DIGEST_BYTES;
    return SR_OK;
}
