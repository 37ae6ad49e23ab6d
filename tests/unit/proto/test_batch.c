/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "proto/batch.h"

#define TERM UINT64_C(0x1122334455667788)

static struct sr_buf three_commands(void)
{
    struct sr_buf buf = {0};
    sr_batch_begin(&buf, TERM);
    sr_batch_add(&buf, (const uint8_t *)"one", 3);
    sr_batch_add(&buf, (const uint8_t *)"", 0);
    sr_batch_add(&buf, (const uint8_t *)"three", 5);
    return buf;
}

static int open_status(const uint8_t *data, size_t size)
{
    struct sr_batch_reader batch;
    struct sr_err err = {0};
    return sr_batch_open(&batch, data, size, &err);
}

static void commands_come_back_in_order(void **state)
{
    (void)state;
    struct sr_buf buf = three_commands();
    assert_int_equal(sr_batch_count(&buf), 3);
    struct sr_batch_reader batch;
    struct sr_bytes command;
    assert_int_equal(sr_batch_open(&batch, buf.data, buf.size, NULL), SR_OK);
    assert_true(batch.term == TERM);
    assert_true(sr_batch_next(&batch, &command));
    assert_true(sr_bytes_equal(command, sr_bytes_of("one")));
    assert_true(sr_batch_next(&batch, &command));
    assert_int_equal(command.size, 0);
    assert_true(sr_batch_next(&batch, &command));
    assert_true(sr_bytes_equal(command, sr_bytes_of("three")));
    assert_false(sr_batch_next(&batch, &command));
    assert_false(sr_batch_next(&batch, &command));
    sr_buf_close(&buf);
}

static void an_empty_batch_is_one(void **state)
{
    (void)state;
    struct sr_buf buf = {0};
    struct sr_batch_reader batch;
    struct sr_bytes command;
    sr_batch_begin(&buf, 1);
    assert_int_equal(buf.size, SR_BATCH_HEADER_BYTES);
    assert_int_equal(sr_batch_open(&batch, buf.data, buf.size, NULL), SR_OK);
    assert_false(sr_batch_next(&batch, &command));
    sr_buf_close(&buf);
}

static void the_layout_is_fixed(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0xb1, 1,    0,    0,    0,    0, 0, 1, 0x11, 0x22, 0x33,
                                       0x44, 0x55, 0x66, 0x77, 0x88, 0, 0, 0, 2,    'h',  'i'};
    struct sr_buf buf = {0};
    sr_batch_begin(&buf, TERM);
    sr_batch_add(&buf, (const uint8_t *)"hi", 2);
    assert_int_equal(buf.size, sizeof(expected));
    assert_memory_equal(buf.data, expected, sizeof(expected));
    sr_buf_close(&buf);
}

static void one_that_is_cut_anywhere_is_refused_at_once(void **state)
{
    (void)state;
    struct sr_buf buf = three_commands();
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_equal(open_status(buf.data, size), SR_CORRUPT);
    }
    sr_buf_append_u8(&buf, 0);
    assert_int_equal(open_status(buf.data, buf.size), SR_CORRUPT);
    sr_buf_close(&buf);
}

static void other_formats_are_refused(void **state)
{
    (void)state;
    for (size_t at = 0; at < 4; at++) {
        struct sr_buf buf = three_commands();
        buf.data[at] ^= 0x40; /* all but the compatible features */
        assert_int_equal(open_status(buf.data, buf.size), at == 2 ? SR_OK : SR_FORMAT);
        sr_buf_close(&buf);
    }
}

static void a_count_or_length_that_lies_is_refused(void **state)
{
    (void)state;
    struct sr_buf buf = three_commands();
    for (size_t at = 4; at < 8; at++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t right = buf.data[at];
            buf.data[at] = (uint8_t)value;
            assert_int_equal(open_status(buf.data, buf.size), value == right ? SR_OK : SR_CORRUPT);
            buf.data[at] = right;
        }
    }
    buf.data[SR_BATCH_HEADER_BYTES] = 0xff; /* the first length */
    assert_int_equal(open_status(buf.data, buf.size), SR_CORRUPT);
    sr_buf_close(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_come_back_in_order),
        cmocka_unit_test(an_empty_batch_is_one),
        cmocka_unit_test(the_layout_is_fixed),
        cmocka_unit_test(one_that_is_cut_anywhere_is_refused_at_once),
        cmocka_unit_test(other_formats_are_refused),
        cmocka_unit_test(a_count_or_length_that_lies_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
