/* SPDX-License-Identifier: Apache-2.0
 *
 * What a later version may write: features that this one may pass over, and features that it must
 * refuse, in every file of the log.
 */
#include "tests/unit/raftlog/fixture.h"

#include <string.h>

#include "base/check.h"
#include "storage/raftlog_impl.h"

#define VERSION_AT      11
#define COMPATIBLE_AT   15
#define INCOMPATIBLE_AT 19

static const char *const magics[] = {SR_LOG_MAGIC_SEGMENT, SR_LOG_MAGIC_VOTE,
                                     SR_LOG_MAGIC_MANIFEST};

static struct sr_log_identity identity(void)
{
    return (struct sr_log_identity){
        .keyring = fx_keyring, .cluster_id = CLUSTER, .member_id = MEMBER};
}

/* The status of opening a preamble with @value at @at. */
static int open_with(const char *magic, size_t at, uint8_t value, struct sr_err *err)
{
    struct sr_log_identity who = identity();
    uint8_t preamble[SR_LOG_PREAMBLE_BYTES];
    struct sr_sealer *sealer = NULL;
    struct sr_sealer *opener = NULL;
    sr_check(sr_log_epoch_new(&who, magic, preamble, &sealer, err) == SR_OK);
    sr_sealer_free(sealer);
    preamble[at] = value;
    int status = sr_log_epoch_open(&who, magic, preamble, &opener, err);
    sr_sealer_free(opener);
    return status;
}

static void preambles(void **state)
{
    (void)state;
    struct sr_err err;
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
        assert_int_equal(open_with(magics[i], COMPATIBLE_AT, 0x40, &err), SR_OK);
        assert_int_equal(open_with(magics[i], INCOMPATIBLE_AT, 0x40, &err), SR_FORMAT);
        assert_non_null(strstr(err.text, "features 0x40: written by a newer version"));
        assert_int_equal(open_with(magics[i], VERSION_AT, 2, &err), SR_FORMAT);
        assert_non_null(strstr(err.text, "version 2"));
    }
}

/* A segment with a feature that may be passed over, sealed as its writer would: it opens, and what
 * the header says is kept. */
static void a_segment_of_a_later_version(void **state)
{
    (void)state;
    struct sr_log_identity who = identity();
    struct sr_log_segment_header header = {.number = 7, .next_index = 9, .size = 4096};
    struct sr_log_segment_header found;
    struct sr_sealer *sealer = NULL;
    struct sr_sealer *opener = NULL;
    uint8_t sector[SR_LOG_SECTOR];
    struct sr_err err;
    assert_int_equal(sr_log_epoch_new(&who, SR_LOG_MAGIC_SEGMENT, header.preamble, &sealer, &err),
                     SR_OK);
    header.preamble[COMPATIBLE_AT] = 0x02;
    assert_int_equal(sr_log_segment_header_seal(&header, sealer, sector, &err), SR_OK);
    assert_int_equal(sr_log_segment_header_open(&who, sector, &found, &opener, &err), SR_OK);
    assert_int_equal(found.number, 7);
    assert_int_equal(found.next_index, 9);
    assert_int_equal(found.preamble[COMPATIBLE_AT], 0x02);
    sr_sealer_free(opener);
    sector[COMPATIBLE_AT] ^= 0x01; /* but only its writer can say so */
    assert_int_equal(sr_log_segment_header_open(&who, sector, &found, &opener, &err), SR_CORRUPT);
    sr_sealer_free(sealer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(preambles, fx_set_up, fx_tear_down),
        cmocka_unit_test_setup_teardown(a_segment_of_a_later_version, fx_set_up, fx_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
