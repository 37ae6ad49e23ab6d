/* SPDX-License-Identifier: Apache-2.0
 *
 * Marks and manifests, and what a start refuses.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/consensus/internal.h"
#include "sim.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

/* Against a plain list of sizes; the marks may be off by a stretch. */
static void test_marks_follow_the_log(void **state)
{
    (void)state;
    enum { COUNT = 3000, SLACK = 300 * 1024 };
    static size_t sizes[COUNT + 1];
    struct sr_marks marks;
    uint64_t total = 0;
    sr_marks_init(&marks, 0, 0, 0);
    for (size_t i = 1; i <= COUNT; i++) {
        sizes[i] = i % 7 == 0 ? 20000 : 100 + i;
        total += sizes[i];
        sr_marks_add(&marks, sizes[i]);
    }
    uint64_t after = total;
    for (size_t i = 0; i <= COUNT; i++) {
        after -= sizes[i];
        uint64_t said = sr_marks_bytes_after(&marks, i);
        assert_in_range(said, after > SLACK ? after - SLACK : 0, after + SLACK);
    }
    assert_int_equal(sr_marks_bytes_after(&marks, COUNT), 0);
    uint64_t before = sr_marks_index_before(&marks, COUNT, 2000000);
    assert_true(sr_marks_bytes_after(&marks, before) >= 2000000);
    assert_true(sr_marks_bytes_after(&marks, before + 1) < 2000000);
    assert_int_equal(sr_marks_index_before(&marks, COUNT, 2 * total), 0);

    sr_marks_truncate(&marks, 2001);
    assert_int_equal(sr_marks_bytes_after(&marks, 2000), 0);
    sr_marks_add(&marks, 500);
    assert_in_range(sr_marks_bytes_after(&marks, 2000), 0, SLACK);
    sr_marks_release(&marks, 1000);
    assert_int_equal(sr_marks_index_before(&marks, 2001, 2 * total), 1000);
    sr_marks_truncate(&marks, 1001);
    assert_int_equal(sr_marks_bytes_after(&marks, 1000), 0);
    sr_marks_add(&marks, 7);
    assert_int_equal(sr_marks_bytes_after(&marks, 1000), 7);
    sr_marks_close(&marks);
}

/* A log found at the start is one stretch: what lies in it is shared out evenly. */
static void test_marks_of_a_log_that_was_found(void **state)
{
    (void)state;
    struct sr_marks marks;
    sr_marks_init(&marks, 1000, 2000, 10000);
    assert_int_equal(sr_marks_bytes_after(&marks, 1500), 5000);
    assert_int_equal(sr_marks_index_before(&marks, 2000, 2500), 1750);
    assert_int_equal(sr_marks_index_before(&marks, 500, 0), 1000);
    sr_marks_close(&marks);
}

static void test_manifest_round_trip_and_cuts(void **state)
{
    (void)state;
    struct raft_configuration conf;
    struct raft_buffer encoded;
    raft_configuration_init(&conf);
    assert_int_equal(raft_configuration_add(&conf, 5, "m5", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_encode(&conf, &encoded), 0);
    raft_configuration_close(&conf);
    struct sr_core_manifest manifest = {.index = 100,
                                        .term = 7,
                                        .configuration_index = 1,
                                        .configuration = {encoded.base, encoded.len},
                                        .data = sr_bytes_of("12345678")};
    struct sr_core_manifest found;
    struct sr_buf packed = {0};
    struct sr_err err;
    sr_core_manifest_pack(&manifest, &packed);
    struct sr_bytes whole = {packed.data, packed.size};
    assert_int_equal(sr_core_manifest_unpack(whole, &found, &err), SR_OK);
    assert_int_equal(found.index, 100);
    assert_int_equal(found.term, 7);
    assert_true(sr_bytes_equal(found.configuration, manifest.configuration));
    assert_true(sr_bytes_equal(found.data, manifest.data));
    for (size_t size = 0; size < packed.size; size++) {
        struct sr_bytes cut = {packed.data, size};
        assert_int_equal(sr_core_manifest_unpack(cut, &found, &err), SR_CORRUPT);
    }
    packed.data[0] = 2;
    assert_int_equal(sr_core_manifest_unpack(whole, &found, &err), SR_FORMAT);
    sr_buf_close(&packed);
    raft_free(encoded.base);
}

/* ---- what a start refuses ---- */

static void begin(void)
{
    sim_init(&sim, 1, 1);
    sim.snapshot_bytes = 500;
    sim.trailing_bytes = 100;
    sim_start(&sim);
    for (int i = 0; i < 40; i++) {
        sim_propose(&sim, 0);
        sim_run(&sim, 50, NULL);
    }
    sim_run(&sim, 1000, NULL);
    sim_crash(&sim, 0);
    assert_true(sim.nodes[0].disk.manifest.size > 0);
}

static void expect_start(int status, const char *text)
{
    struct sr_err err = {0};
    assert_int_equal(sim_restart(&sim, 0, &err), status);
    if (status != SR_OK) {
        assert_non_null(strstr(err.text, text));
    }
    sim_close(&sim);
}

static void test_start_after_all_is_well(void **state)
{
    (void)state;
    begin();
    expect_start(SR_OK, "");
}

static void test_start_refuses_a_log_that_lost_entries(void **state)
{
    (void)state;
    begin();
    struct sim_disk *disk = &sim.nodes[0].disk;
    sr_free(disk->entries[--disk->count].data);
    disk->state_index = disk->first + disk->count;
    expect_start(SR_CORRUPT, "acknowledged writes are missing");
}

static void test_start_refuses_a_state_that_lost_entries(void **state)
{
    (void)state;
    begin();
    sim.nodes[0].disk.state_index = 1;
    expect_start(SR_CORRUPT, "but the log was released up to");
}

static void test_start_refuses_an_empty_log_under_a_state(void **state)
{
    (void)state;
    begin();
    struct sim_disk *disk = &sim.nodes[0].disk;
    while (disk->count > 0) {
        sr_free(disk->entries[--disk->count].data);
    }
    disk->first = 1;
    sr_buf_clear(&disk->manifest);
    expect_start(SR_CORRUPT, "acknowledged writes are missing");
}

static void test_start_refuses_a_vote_without_a_log(void **state)
{
    (void)state;
    sim_init(&sim, 1, 1);
    sim.nodes[0].disk.term = 5;
    expect_start(SR_CORRUPT, "has voted in term 5");
}

static void test_start_refuses_entries_of_later_terms_than_the_vote(void **state)
{
    (void)state;
    begin();
    sim.nodes[0].disk.term = 0;
    expect_start(SR_CORRUPT, "was voted in");
}

static void test_start_refuses_a_damaged_manifest(void **state)
{
    (void)state;
    begin();
    sim.nodes[0].disk.manifest.size--;
    expect_start(SR_CORRUPT, "log manifest");
}

/* Birth: the term is recorded first; a crash before the entry repeats it. */
static void test_birth_that_was_interrupted(void **state)
{
    (void)state;
    sim_init(&sim, 1, 1);
    sim.nodes[0].disk.term = 1;
    expect_start(SR_OK, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_follow_the_log),
        cmocka_unit_test(test_marks_of_a_log_that_was_found),
        cmocka_unit_test(test_manifest_round_trip_and_cuts),
        cmocka_unit_test(test_start_after_all_is_well),
        cmocka_unit_test(test_start_refuses_a_log_that_lost_entries),
        cmocka_unit_test(test_start_refuses_a_state_that_lost_entries),
        cmocka_unit_test(test_start_refuses_an_empty_log_under_a_state),
        cmocka_unit_test(test_start_refuses_a_vote_without_a_log),
        cmocka_unit_test(test_start_refuses_entries_of_later_terms_than_the_vote),
        cmocka_unit_test(test_start_refuses_a_damaged_manifest),
        cmocka_unit_test(test_birth_that_was_interrupted),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
