/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "base/buf.h"

static void what_is_written_reads_back(void **state)
{
    (void)state;
    struct sr_buf buf = {0};
    sr_buf_append_u8(&buf, 0xfe);
    sr_buf_append_u16(&buf, 0x1234);
    sr_buf_append_u32(&buf, 0xdeadbeef);
    sr_buf_append_u64(&buf, UINT64_C(0x0123456789abcdef));
    sr_buf_append(&buf, "tail", 4);
    assert_memory_equal(buf.data, "\xfe\x12\x34\xde\xad\xbe\xef", 7);

    struct sr_reader reader = sr_reader_of(buf.data, buf.size);
    assert_int_equal(sr_read_u8(&reader), 0xfe);
    assert_int_equal(sr_read_u16(&reader), 0x1234);
    assert_int_equal(sr_read_u32(&reader), 0xdeadbeef);
    assert_true(sr_read_u64(&reader) == UINT64_C(0x0123456789abcdef));
    assert_true(sr_bytes_equal(sr_read_bytes(&reader, 4), sr_bytes_of("tail")));
    assert_int_equal(sr_reader_left(&reader), 0);
    assert_false(reader.failed);
    sr_buf_close(&buf);
}

static void reading_past_the_end_fails_and_stays_failed(void **state)
{
    (void)state;
    const uint8_t data[3] = {1, 2, 3};
    struct sr_reader reader = sr_reader_of(data, sizeof(data));
    assert_int_equal(sr_read_u32(&reader), 0);
    assert_true(reader.failed);
    assert_int_equal(sr_read_u8(&reader), 0); /* though a byte is there */
    assert_null(sr_read_bytes(&reader, 1).data);
    uint8_t copy[2] = {9, 9};
    sr_read_copy(&reader, copy, sizeof(copy));
    assert_int_equal(copy[0] | copy[1], 0);
}

static void a_huge_size_does_not_wrap(void **state)
{
    (void)state;
    const uint8_t data[8] = {0};
    struct sr_reader reader = sr_reader_of(data, sizeof(data));
    sr_read_u8(&reader);
    assert_null(sr_read_bytes(&reader, SIZE_MAX).data);
    assert_true(reader.failed);
}

static void consume_drops_from_the_front(void **state)
{
    (void)state;
    struct sr_buf buf = {0};
    sr_buf_append(&buf, "abcdef", 6);
    sr_buf_consume(&buf, 2);
    assert_int_equal(buf.size, 4);
    assert_memory_equal(buf.data, "cdef", 4);
    sr_buf_consume(&buf, 100);
    assert_int_equal(buf.size, 0);
    sr_buf_close(&buf);
}

static void bytes_order_as_memcmp_and_then_by_size(void **state)
{
    (void)state;
    assert_true(sr_bytes_compare(sr_bytes_of("a"), sr_bytes_of("ab")) < 0);
    assert_true(sr_bytes_compare(sr_bytes_of("b"), sr_bytes_of("ab")) > 0);
    assert_int_equal(sr_bytes_compare(sr_bytes_of(""), (struct sr_bytes){NULL, 0}), 0);
    assert_true(sr_bytes_compare(sr_bytes_of("\xff"), sr_bytes_of("\x01")) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(reading_past_the_end_fails_and_stays_failed),
        cmocka_unit_test(a_huge_size_does_not_wrap),
        cmocka_unit_test(consume_drops_from_the_front),
        cmocka_unit_test(bytes_order_as_memcmp_and_then_by_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
