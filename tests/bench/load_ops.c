/* SPDX-License-Identifier: Apache-2.0
 *
 * The requests, packed by hand: two messages with three fields are not worth a library on the
 * side that must not be the bottleneck.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tests/bench/load.h"

#define KEY_BYTES  24
#define POOL_BYTES ((size_t)1 << 20)

static struct {
    const struct load_options *options;
    uint64_t random;
    uint64_t filled;
    uint8_t *pool; /* of random bytes, values are cut from it */
} ops;

static uint64_t next_random(void)
{
    ops.random ^= ops.random << 13;
    ops.random ^= ops.random >> 7;
    ops.random ^= ops.random << 17;
    return ops.random;
}

static void randomize(uint8_t *data, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t random = next_random();
        memcpy(data + i, &random, size - i < 8 ? size - i : 8);
    }
}

void load_ops_init(const struct load_options *options)
{
    ops.options = options;
    ops.random = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    ops.pool = sr_alloc(POOL_BYTES);
    randomize(ops.pool, POOL_BYTES);
}

static void put_varint(struct sr_buf *out, uint64_t value)
{
    while (value >= 0x80) {
        sr_buf_append_u8(out, (uint8_t)(value | 0x80));
        value >>= 7;
    }
    sr_buf_append_u8(out, (uint8_t)value);
}

static void put_bytes(struct sr_buf *out, unsigned field, const void *data, size_t size)
{
    sr_buf_append_u8(out, (uint8_t)(field << 3 | 2));
    put_varint(out, size);
    sr_buf_append(out, data, size);
}

static void begin(struct load_request *request, const char *path, uint64_t key)
{
    char name[KEY_BYTES + 1];
    snprintf(name, sizeof(name), "/bench/key-%013llu", (unsigned long long)key);
    request->path = path;
    sr_buf_clear(&request->message);
    sr_buf_append(&request->message, "\0\0\0\0\0", 5);
    put_bytes(&request->message, 1, name, KEY_BYTES);
}

static void end(struct load_request *request)
{
    sr_put_u32(request->message.data + 1, (uint32_t)(request->message.size - 5));
}

static void make_put(struct load_request *request, uint64_t key)
{
    begin(request, "/etcdserverpb.KV/Put", key);
    size_t offset = next_random() % (POOL_BYTES - ops.options->value_bytes);
    if (ops.options->op == LOAD_FILL) {
        /* What came before would compress, and an archive be smaller than it says. */
        randomize(ops.pool + offset, ops.options->value_bytes);
    }
    put_bytes(&request->message, 2, ops.pool + offset, ops.options->value_bytes);
    request->is_get = false;
    end(request);
}

static void make_get(struct load_request *request, uint64_t key, bool serializable)
{
    begin(request, "/etcdserverpb.KV/Range", key);
    if (serializable) {
        sr_buf_append(&request->message, "\x38\x01", 2);
    }
    request->is_get = true;
    end(request);
}

bool load_next_request(struct load_request *request)
{
    uint64_t key = next_random() % ops.options->keys;
    switch (ops.options->op) {
    case LOAD_FILL:
        if (ops.filled == ops.options->keys) {
            return false;
        }
        make_put(request, ops.filled++);
        return true;
    case LOAD_PUT:
        make_put(request, key);
        return true;
    case LOAD_GET:
    case LOAD_SERIALIZABLE_GET:
        make_get(request, key, ops.options->op == LOAD_SERIALIZABLE_GET);
        return true;
    case LOAD_MIX: /* 90 % linearizable gets, 10 % puts */
        if (next_random() % 10 == 0) {
            make_put(request, key);
        } else {
            make_get(request, key, false);
        }
        return true;
    }
    return false;
}
