/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static void an_error_gains_context_on_its_way_up(void **state)
{
    (void)state;
    struct sr_err err = {0};
    assert_int_equal(sr_err_set(&err, SR_CORRUPT, "frame %d: bad tag", 7), SR_CORRUPT);
    assert_int_equal(sr_err_prefix(&err, "segment %d", 12), SR_CORRUPT);
    assert_int_equal(sr_err_prefix(&err, "open log"), SR_CORRUPT);
    assert_string_equal(err.text, "open log: segment 12: frame 7: bad tag");
}

static void a_long_chain_is_cut_and_stays_a_string(void **state)
{
    (void)state;
    struct sr_err err = {0};
    sr_err_set(&err, SR_INVALID, "innermost");
    for (int i = 0; i < 100; i++) {
        sr_err_prefix(&err, "layer number %d of many", i);
    }
    assert_int_equal(strlen(err.text), SR_ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "layer number 99", 15);
}

static void a_full_disk_is_told_from_a_broken_one(void **state)
{
    (void)state;
    struct sr_err err = {0};
    assert_int_equal(sr_err_errno(&err, SR_IO, ENOSPC, "write"), SR_NO_SPACE);
    assert_string_equal(err.text, "write: No space left on device");
    assert_int_equal(sr_err_errno(&err, SR_IO, EIO, "sync"), SR_IO);
    assert_int_equal(sr_err_errno(NULL, SR_IO, EIO, "nobody listens"), SR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_gains_context_on_its_way_up),
        cmocka_unit_test(a_long_chain_is_cut_and_stays_a_string),
        cmocka_unit_test(a_full_disk_is_told_from_a_broken_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
