/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/statehash.h"

#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/check.h"

enum {
    EVENT_PUT = 1,
    EVENT_DELETE = 2,
    EVENT_COMPACTION = 3,
    EVENT_CLUSTER = 4,
    EVENT_OFFSITE = 5
};

struct sr_statehash {
    EVP_MD *sha256; /* fetched once: looking it up costs more than hashing */
    EVP_MD_CTX *context;
    bool failed;
};

struct sr_statehash *sr_statehash_new(void)
{
    struct sr_statehash *hash = sr_zalloc(sizeof(*hash));
    hash->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hash->context = EVP_MD_CTX_new();
    sr_check(hash->sha256 != NULL && hash->context != NULL);
    return hash;
}

void sr_statehash_free(struct sr_statehash *hash)
{
    if (hash == NULL) {
        return;
    }
    EVP_MD_CTX_free(hash->context);
    EVP_MD_free(hash->sha256);
    sr_free(hash);
}

static void update(struct sr_statehash *hash, const void *data, size_t size)
{
    if (size > 0 && EVP_DigestUpdate(hash->context, data, size) != 1) {
        hash->failed = true;
    }
}

void sr_statehash_begin(struct sr_statehash *hash, const uint8_t previous[SR_STATE_HASH_BYTES],
                        int64_t revision)
{
    uint8_t start[SR_STATE_HASH_BYTES + 8];
    __builtin_memcpy(start, previous, SR_STATE_HASH_BYTES);
    sr_put_u64(start + SR_STATE_HASH_BYTES, (uint64_t)revision);
    hash->failed = EVP_DigestInit_ex2(hash->context, hash->sha256, NULL) != 1;
    update(hash, start, sizeof(start));
}

void sr_statehash_event(struct sr_statehash *hash, struct sr_bytes key, struct sr_bytes value,
                        const struct sr_version *version)
{
    uint8_t head[1 + 4 + 4 + 4 + 4 * 8];
    head[0] = version->tombstone ? EVENT_DELETE : EVENT_PUT;
    sr_put_u32(head + 1, version->sub);
    sr_put_u32(head + 5, (uint32_t)key.size);
    sr_put_u32(head + 9, (uint32_t)value.size);
    sr_put_u64(head + 13, (uint64_t)version->create_revision);
    sr_put_u64(head + 21, (uint64_t)version->mod_revision);
    sr_put_u64(head + 29, (uint64_t)version->version);
    sr_put_u64(head + 37, (uint64_t)version->lease);
    update(hash, head, sizeof(head));
    update(hash, key.data, key.size);
    update(hash, value.data, value.size);
}

void sr_statehash_compaction(struct sr_statehash *hash, int64_t compact_revision)
{
    uint8_t event[1 + 8];
    event[0] = EVENT_COMPACTION;
    sr_put_u64(event + 1, (uint64_t)compact_revision);
    update(hash, event, sizeof(event));
}

static void add_record(struct sr_statehash *hash, uint8_t event, struct sr_bytes record)
{
    uint8_t head[1 + 4];
    head[0] = event;
    sr_put_u32(head + 1, (uint32_t)record.size);
    update(hash, head, sizeof(head));
    update(hash, record.data, record.size);
}

void sr_statehash_cluster(struct sr_statehash *hash, struct sr_bytes record)
{
    add_record(hash, EVENT_CLUSTER, record);
}

void sr_statehash_offsite(struct sr_statehash *hash, struct sr_bytes record)
{
    add_record(hash, EVENT_OFFSITE, record);
}

int sr_statehash_end(struct sr_statehash *hash, uint8_t ret_hash[SR_STATE_HASH_BYTES],
                     struct sr_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (hash->failed || EVP_DigestFinal_ex(hash->context, digest, &size) != 1 ||
        size != SR_STATE_HASH_BYTES) {
        return sr_err_set(err, SR_CRYPTO, "state hash: SHA-256 failed");
    }
    __builtin_memcpy(ret_hash, digest, SR_STATE_HASH_BYTES);
    return SR_OK;
}
