/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/keyhash.h"

struct state {
    uint64_t v0;
    uint64_t v1;
    uint64_t v2;
    uint64_t v3;
};

/* SipHash reads little-endian words, as this machine does. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are read in place");

static uint64_t get_u64_le(const uint8_t *in)
{
    uint64_t value;
    __builtin_memcpy(&value, in, sizeof(value));
    return value;
}

static inline uint64_t rotate(uint64_t value, unsigned bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static inline void sip_round(struct state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

uint64_t sr_keyhash(const uint8_t key[SR_KEYHASH_KEY_BYTES], struct sr_bytes input)
{
    uint64_t k0 = get_u64_le(key);
    uint64_t k1 = get_u64_le(key + 8);
    /* "somepseudorandomlygeneratedbytes" */
    struct state s = {
        k0 ^ UINT64_C(0x736f6d6570736575),
        k1 ^ UINT64_C(0x646f72616e646f6d),
        k0 ^ UINT64_C(0x6c7967656e657261),
        k1 ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = input.size & ~(size_t)7;
    uint64_t last = (uint64_t)input.size << 56;

    for (size_t i = 0; i < whole; i += 8) {
        absorb(&s, get_u64_le(input.data + i));
    }
    for (size_t i = whole; i < input.size; i++) {
        last |= (uint64_t)input.data[i] << (8 * (i - whole));
    }
    absorb(&s, last);
    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(&s);
    }
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
