/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <pthread.h>
#include <string.h>

#include "base/buf.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/message.h"

static const ProtobufCMessageDescriptor *const txn_type = &etcdserverpb__txn_request__descriptor;
static const ProtobufCMessageDescriptor *const range_type =
    &etcdserverpb__range_request__descriptor;

static void put_varint(struct sr_buf *buf, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        sr_buf_append_u8(buf, (uint8_t)(value | 0x80));
    }
    sr_buf_append_u8(buf, (uint8_t)value);
}

static int check_bytes(const ProtobufCMessageDescriptor *type, const void *data, size_t size)
{
    struct sr_err err = {0};
    return sr_message_check(type, data, size, &err);
}

/* A TxnRequest with @levels message levels: success { request_txn { success { ... } } }. */
static struct sr_buf nested_txn(size_t levels)
{
    struct sr_buf inner = {0};
    for (size_t level = 1; level < levels; level++) {
        struct sr_buf outer = {0};
        /* From inside out: the innermost is a TxnRequest or a RequestOp, by parity. */
        bool is_txn = (levels - level) % 2 == 1;
        sr_buf_append_u8(&outer, is_txn ? 2 << 3 | 2 : 4 << 3 | 2);
        put_varint(&outer, inner.size);
        sr_buf_append(&outer, inner.data, inner.size);
        sr_buf_close(&inner);
        inner = outer;
    }
    return inner;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct sr_buf fits = nested_txn(SR_MESSAGE_DEPTH_MAX);
    assert_int_equal(check_bytes(txn_type, fits.data, fits.size), SR_OK);
    struct sr_buf deeper = nested_txn(SR_MESSAGE_DEPTH_MAX + 1);
    assert_int_equal(check_bytes(txn_type, deeper.data, deeper.size), SR_INVALID);
    sr_buf_close(&fits);
    sr_buf_close(&deeper);
}

static void *unpack_nested(void *arg)
{
    const struct sr_buf *packed = arg;
    struct sr_arena arena;
    struct sr_err err = {0};
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    void *message = sr_message_unpack(txn_type, &arena, packed->data, packed->size, &err);
    sr_arena_close(&arena);
    return message == NULL ? (void *)1 : NULL;
}

/* What is let through must not overflow the stack of any of our threads. */
static void deepest_nesting_fits_a_small_stack(void **state)
{
    (void)state;
    struct sr_buf packed = nested_txn(SR_MESSAGE_DEPTH_MAX);
    pthread_attr_t attr;
    pthread_t thread;
    void *failed = NULL;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, 512 * 1024), 0);
    assert_int_equal(pthread_create(&thread, &attr, unpack_nested, &packed), 0);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    (void)pthread_attr_destroy(&attr);
    sr_buf_close(&packed);
}

static void ten_thousand_levels_are_refused(void **state)
{
    (void)state;
    struct sr_buf packed = nested_txn(10000);
    struct sr_arena arena;
    struct sr_err err = {0};
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    assert_null(sr_message_unpack(txn_type, &arena, packed.data, packed.size, &err));
    assert_int_equal(err.status, SR_INVALID);
    assert_int_equal(arena.used_bytes, 0); /* protobuf-c has not seen it */
    sr_arena_close(&arena);
    sr_buf_close(&packed);
}

static struct sr_buf pack(const void *message)
{
    struct sr_buf buf = {0};
    size_t size = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, sr_buf_extend(&buf, size));
    return buf;
}

/* A command with a bit of everything. */
static struct sr_buf sample_command(void)
{
    uint8_t key[] = "some key";
    uint8_t value[] = "some value";
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){sizeof(key), key};
    put.value = (ProtobufCBinaryData){sizeof(value), value};
    put.lease = -1;
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = put.key;
    range.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.key = put.key;
    compare.range_end = put.value; /* field 64: a tag of two bytes */
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = 1234567;
    Etcdserverpb__RequestOp ops[2] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &put;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[1].request_range = &range;
    Etcdserverpb__RequestOp *op_list[2] = {&ops[0], &ops[1]};
    Etcdserverpb__Compare *compare_list[1] = {&compare};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_compare = 1;
    txn.compare = compare_list;
    txn.n_success = 2;
    txn.success = op_list;
    char actor[] = "someone";
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = UINT64_MAX;
    command.sequence = 7;
    command.actor = actor;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_TXN;
    command.txn = &txn;
    return pack(&command);
}

static void what_is_packed_unpacks_the_same(void **state)
{
    (void)state;
    struct sr_buf packed = sample_command();
    struct sr_arena arena;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    for (int i = 0; i < 3; i++) { /* the arena is reused */
        ProtobufCMessage *message = sr_message_unpack(&strongroom__command__descriptor, &arena,
                                                      packed.data, packed.size, NULL);
        assert_non_null(message);
        struct sr_buf again = pack(message);
        assert_int_equal(again.size, packed.size);
        assert_memory_equal(again.data, packed.data, packed.size);
        sr_buf_close(&again);
        sr_arena_reset(&arena);
    }
    sr_arena_close(&arena);
    sr_buf_close(&packed);
}

/* Cut or damaged anywhere, it is refused or read, with every byte touched inside its bounds (the
 * sanitizers see to that: each copy has its own allocation). */
static void cut_and_damaged_messages_are_survived(void **state)
{
    (void)state;
    struct sr_buf packed = sample_command();
    struct sr_arena arena;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    size_t refused = 0;
    for (size_t size = 0; size < packed.size; size++) {
        uint8_t *copy = sr_memdup(packed.data, size);
        refused +=
            sr_message_unpack(&strongroom__command__descriptor, &arena, copy, size, NULL) == NULL;
        sr_free(copy);
        sr_arena_reset(&arena);
    }
    assert_true(refused > packed.size / 2);
    for (size_t at = 0; at < packed.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t *copy = sr_memdup(packed.data, packed.size);
            copy[at] ^= (uint8_t)(1U << bit);
            (void)sr_message_unpack(&strongroom__command__descriptor, &arena, copy, packed.size,
                                    NULL);
            sr_free(copy);
            sr_arena_reset(&arena);
        }
    }
    sr_arena_close(&arena);
    sr_buf_close(&packed);
}

static void malformed_fields_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int status;
    } cases[] = {
        {"", 0, SR_OK},
        {"\x0a\x01k", 3, SR_OK},
        {"\x0a\x02k", 3, SR_INVALID},                                /* beyond the end */
        {"\x0a", 1, SR_INVALID},                                     /* no length */
        {"\x0a\x80\x80\x80\x80\x80\x00", 7, SR_INVALID},             /* a length of six bytes */
        {"\x0a\xff\xff\xff\xff\x0f", 6, SR_INVALID},                 /* 4 GiB */
        {"\x00\x01", 2, SR_INVALID},                                 /* field 0 */
        {"\x80\x80\x80\x80\x80\x01\x00", 7, SR_INVALID},             /* a tag of six bytes */
        {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, SR_OK}, /* limit -1 */
        {"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, SR_INVALID},
        {"\x18\xff", 2, SR_INVALID},
        {"\x18", 1, SR_INVALID},
        {"\x08\x01", 2, SR_INVALID},             /* key as a number */
        {"\x1a\x01\x01", 3, SR_INVALID},         /* limit as bytes */
        {"\xf8\x07\x05", 3, SR_OK},              /* field 127, number */
        {"\xf9\x07\1\2\3\4\5\6\7\0", 10, SR_OK}, /* fixed 64 */
        {"\xf9\x07\1\2\3\4\5\6\7", 9, SR_INVALID},
        {"\xfd\x07\1\2\3\4", 6, SR_OK}, /* fixed 32 */
        {"\xfd\x07\1\2\3", 5, SR_INVALID},
        {"\xfa\x07\x02\xff\xff", 5, SR_OK},  /* bytes, not looked into */
        {"\xfb\x07\xfc\x07", 4, SR_INVALID}, /* a group */
        {"\xfc\x07", 2, SR_INVALID},
        {"\xfe\x07\x00", 3, SR_INVALID}, /* wire types 6 and 7 */
        {"\xff\x07\x00", 3, SR_INVALID},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *copy = sr_memdup(cases[i].bytes, cases[i].size);
        int status = check_bytes(range_type, copy, cases[i].size);
        if (status != cases[i].status) {
            print_error("case %zu\n", i);
        }
        assert_int_equal(status, cases[i].status);
        sr_free(copy);
    }
}

static void a_field_inside_may_not_leave_its_message(void **state)
{
    (void)state;
    /* success of 2 bytes whose field request_put claims 3, which the outer message would have */
    static const uint8_t packed[] = {0x12, 0x02, 0x12, 0x03, 0x0a, 0x01, 'k'};
    assert_int_equal(check_bytes(txn_type, packed, sizeof(packed)), SR_INVALID);
}

static void many_tiny_fields_do_not_take_much_memory(void **state)
{
    (void)state;
    struct sr_buf packed = {0};
    while (packed.size < SR_MESSAGE_BYTES_MAX) { /* empty operations */
        sr_buf_append_u16(&packed, 0x1200);
    }
    struct sr_arena arena;
    struct sr_err err = {0};
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    assert_null(sr_message_unpack(txn_type, &arena, packed.data, packed.size, &err));
    assert_int_equal(err.status, SR_LIMIT);
    assert_true(arena.used_bytes <= SR_UNPACK_BYTES_MAX + 16);
    sr_arena_close(&arena);
    sr_buf_close(&packed);
}

static void the_arena_bounds_any_message(void **state)
{
    (void)state;
    struct sr_buf packed = sample_command();
    struct sr_err err = {0};
    size_t limit = 0;
    for (bool done = false; !done; limit += 16) {
        struct sr_arena arena;
        sr_arena_init(&arena, limit);
        done = sr_message_unpack(&strongroom__command__descriptor, &arena, packed.data, packed.size,
                                 &err) != NULL;
        if (!done) {
            assert_int_equal(err.status, SR_LIMIT);
        }
        sr_arena_close(&arena);
        assert_true(limit < 65536);
    }
    assert_true(limit > packed.size);
    sr_buf_close(&packed);
}

/* txn { success { request_put { key "k", field 99 } field 98 } field 97 }, twice nested. */
static void unknown_fields_are_not_remembered(void **state)
{
    (void)state;
    static const uint8_t packed[] = {0x12, 12,   0x12, 7,    0x0a, 1,    'k',  0x9a, 0x06, 1,
                                     0xee, 0x90, 0x06, 0x01, 0x8a, 0x06, 0x02, 0xdd, 0xdd};
    static const uint8_t clean[] = {0x12, 5, 0x12, 3, 0x0a, 1, 'k'};
    struct sr_arena arena;
    struct sr_err err = {0};
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    ProtobufCMessage *message = sr_message_unpack(txn_type, &arena, packed, sizeof(packed), &err);
    if (message == NULL) {
        print_error("%s\n", err.text);
    }
    assert_non_null(message);
    struct sr_buf again = pack(message);
    assert_int_equal(again.size, sizeof(clean));
    assert_memory_equal(again.data, clean, sizeof(clean));
    sr_buf_close(&again);
    sr_arena_close(&arena);
}

static void the_last_of_a_oneof_counts(void **state)
{
    (void)state;
    /* a put, then a range, in one RequestOp */
    static const uint8_t packed[] = {0x12, 3, 0x0a, 1, 'p', 0x0a, 3, 0x0a, 1, 'r'};
    struct sr_arena arena;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    const Etcdserverpb__RequestOp *op = (const void *)sr_message_unpack(
        &etcdserverpb__request_op__descriptor, &arena, packed, sizeof(packed), NULL);
    assert_non_null(op);
    assert_int_equal(op->request_case, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE);
    assert_int_equal(op->request_range->key.data[0], 'r');
    sr_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(deepest_nesting_fits_a_small_stack),
        cmocka_unit_test(ten_thousand_levels_are_refused),
        cmocka_unit_test(what_is_packed_unpacks_the_same),
        cmocka_unit_test(cut_and_damaged_messages_are_survived),
        cmocka_unit_test(malformed_fields_are_refused),
        cmocka_unit_test(a_field_inside_may_not_leave_its_message),
        cmocka_unit_test(many_tiny_fields_do_not_take_much_memory),
        cmocka_unit_test(the_arena_bounds_any_message),
        cmocka_unit_test(unknown_fields_are_not_remembered),
        cmocka_unit_test(the_last_of_a_oneof_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
