/* SPDX-License-Identifier: Apache-2.0
 *
 * Drills over a real directory: what can be restored is said to be good, and what somebody has
 * harmed, bad; what cannot be looked at is neither, and comes later.
 */
#include <dirent.h>
#include <unistd.h>

#include "node/offsite/drill_internal.h"
#include "tests/unit/offsite/world.h"

struct drills {
    struct world *world;
    struct member *member; /* that drills */
    struct sr_drill_options options;
    struct sr_drill *drill;
    char data_dir[96];
    char away[96];
    char key_path[128];
    char *key_paths[1];
    unsigned refusals; /* so many results are not taken */
    unsigned stops_at; /* the node stops when it has asked for the time so often */
    uint64_t clock_ahead_ms;
};

/* ---- The world of the one that drills ---- */

static uint64_t drills_wall_ms(void *arg)
{
    struct drills *drills = arg;
    if (drills->stops_at > 0 && --drills->stops_at == 0) {
        atomic_store(&drills->drill->stopping, true);
    }
    return drills->world->now_ms + drills->clock_ahead_ms;
}

static uint64_t drills_monotonic_ns(void *arg)
{
    return ((struct drills *)arg)->world->now_ms * 1000000;
}

static enum sr_ship_rank drills_rank(void *arg)
{
    return world_rank(((struct drills *)arg)->member);
}

static enum sr_api_error drills_change(void *arg, const Strongroom__OffsiteChange *change)
{
    struct drills *drills = arg;
    if (drills->refusals > 0) {
        drills->refusals--;
        return SR_API_OFFSITE_UNKNOWN;
    }
    enum sr_api_error error = world_apply(drills->world, change);
    fixture_flush(&drills->world->fixture);
    return error;
}

static void open_drill(struct drills *drills)
{
    struct sr_err err = {0};
    fixture_ok(sr_drill_open(&drills->options, &drills->drill, &err), &err);
}

/* Member @number drills; one snapshot is there, of member 2 or 3, and changes behind it. */
static struct drills *begin(unsigned number)
{
    struct drills *drills = sr_zalloc(sizeof(*drills));
    struct world *world = world_open(DAY);
    drills->world = world;
    world->config.drill = true;
    world->members[number == 2 ? 2 : 1].dead = true; /* so that it is known who ships */
    world_run(world, 10 * SECOND, SECOND);
    for (int i = 0; i < 100; i++) {
        applied(&world->fixture, put_text("name", "value"));
    }
    fixture_flush(&world->fixture);
    world_run(world, 30 * SECOND, SECOND);
    drills->member = &world->members[number - 1];
    (void)snprintf(drills->data_dir, sizeof(drills->data_dir), "%s.data", world->dir);
    (void)snprintf(drills->away, sizeof(drills->away), "%s.away", world->dir);
    assert_int_equal(mkdir(drills->data_dir, 0700), 0);
    drills->options = (struct sr_drill_options){
        .config = &world->config,
        .member_name = "n2",
        .cluster_id = FIXTURE_CLUSTER,
        .member_id = number,
        .store = world->fixture.store,
        .data_dir = drills->data_dir,
        .env = {.wall_ms = drills_wall_ms,
                .monotonic_ns = drills_monotonic_ns,
                .rank = drills_rank,
                .is_member = world_is_member,
                .change = drills_change,
                .arg = drills},
    };
    open_drill(drills);
    return drills;
}

static bool has_scratch(const struct drills *drills)
{
    return access(drills->drill->path, F_OK) == 0;
}

static void end(struct drills *drills)
{
    assert_false(has_scratch(drills));
    sr_drill_free(drills->drill);
    assert_int_equal(rmdir(drills->data_dir), 0);
    drills->world->config.recovery_keys_count = 0;
    world_close(drills->world);
    sr_free(drills);
}

/* A look for results of others, and one for what is to be drilled. */
static void step(struct drills *drills)
{
    sr_drill_step(drills->drill);
    sr_drill_step(drills->drill);
}

static const struct sr_drill_metrics *metrics(const struct drills *drills)
{
    return &drills->drill->lanes[0].metrics;
}

static uint64_t failed(const struct drills *drills, enum sr_drill_reason reason)
{
    return sr_counter_read(&metrics(drills)->failed[reason]);
}

/* The newest snapshot; *ret_record is to be freed. */
static const Strongroom__OffsiteEntry *newest(struct drills *drills,
                                              Strongroom__OffsiteRecord **ret_record)
{
    *ret_record = world_record(drills->world);
    const Strongroom__OffsiteEntry *entry = sr_offsite_newest(*ret_record, "far", false);
    assert_non_null(entry);
    return entry;
}

enum result { NOT_DRILLED, GOOD, BAD };

static enum result result_of(struct drills *drills, const char *reason)
{
    Strongroom__OffsiteRecord *record;
    const Strongroom__OffsiteEntry *entry = newest(drills, &record);
    enum result result = entry->drilled_ms == 0 ? NOT_DRILLED : entry->proven ? GOOD : BAD;
    if (result == BAD) {
        if (strstr(entry->drill_failure, reason) == NULL) {
            print_error("it says: %s\n", entry->drill_failure);
        }
        assert_non_null(strstr(entry->drill_failure, reason));
    }
    world_record_free(record);
    return result;
}

static void ship_another(struct drills *drills)
{
    atomic_store(&drills->member->full.wanted, true);
    world_run(drills->world, 5 * SECOND, SECOND);
}

/* ---- The target ---- */

/* Where an object of the newest snapshot is. */
static void path_of(struct drills *drills, enum sr_object_type type, char out[256])
{
    Strongroom__OffsiteRecord *record;
    const Strongroom__OffsiteEntry *entry = newest(drills, &record);
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_name(FIXTURE_CLUSTER, SR_ARCHIVE_FULL, entry->sequence, entry->revision, type, name);
    (void)snprintf(out, 256, "%s/%s", drills->world->dir, name);
    world_record_free(record);
}

static void proof_path(struct drills *drills, char out[256])
{
    Strongroom__OffsiteRecord *record;
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_proof_name(FIXTURE_CLUSTER, newest(drills, &record)->sequence, name);
    (void)snprintf(out, 256, "%s/%s", drills->world->dir, name);
    world_record_free(record);
}

static void flip(const char *path, double where)
{
    struct stat st;
    FILE *file;
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(stat(path, &st), 0);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)((double)st.st_size * where), SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    fputc(c ^ 1, file);
    assert_int_equal(fclose(file), 0);
}

static Strongroom__Proof *read_proof(struct drills *drills)
{
    char path[256];
    uint8_t data[65536];
    struct sr_err err = {0};
    Strongroom__Proof *proof = NULL;
    proof_path(drills, path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    fixture_ok(sr_proof_open((struct sr_bytes){data, size}, FIXTURE_CLUSTER,
                             drills->drill->proof_keys, 1, &proof, &err),
               &err);
    return proof;
}

static struct sr_manifest *last_changes(struct drills *drills)
{
    struct objects objects = world_objects(drills->world, SR_ARCHIVE_CHANGES);
    struct sr_manifest_expect expect = {.cluster_id = FIXTURE_CLUSTER, .target = "far"};
    struct sr_manifest *manifest = NULL;
    struct sr_err err = {0};
    uint8_t data[65536];
    char path[256];
    assert_true(objects.count > 0);
    (void)snprintf(path, sizeof(path), "%s/%s", drills->world->dir,
                   objects.names[objects.count - 1]);
    sr_free(objects.names);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    fixture_ok(sr_manifest_open((struct sr_bytes){data, size}, &expect, &manifest, &err), &err);
    return manifest;
}

/* ---- Good ones ---- */

static void test_what_can_be_restored_is_good(void **state)
{
    struct drills *drills = begin(2);
    Strongroom__OffsiteRecord *record;
    (void)state;
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    assert_int_equal(sr_counter_read(&metrics(drills)->proven), 1);
    assert_true(sr_counter_read(&metrics(drills)->fetched_bytes) > 0);

    Strongroom__Proof *proof = read_proof(drills);
    const Strongroom__OffsiteEntry *entry = newest(drills, &record);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    struct sr_manifest *last = last_changes(drills);
    assert_true(proof->good);
    assert_string_equal(proof->prover, "n2");
    assert_string_equal(proof->target, "far");
    assert_int_equal(proof->sequence, entry->sequence);
    assert_int_equal(proof->ended_ms, entry->drilled_ms);
    assert_true(chain->last_sequence > 0);
    assert_int_equal(proof->changes_sequence, chain->last_sequence);
    assert_int_equal(proof->revision, sr_store_revision(drills->world->fixture.store));
    assert_int_equal(proof->revision, last->said->until_revision);
    assert_int_equal(proof->state_hash.len, last->said->state_hash.len);
    assert_memory_equal(proof->state_hash.data, last->said->state_hash.data, proof->state_hash.len);
    sr_manifest_free(last);
    world_record_free(record);
    strongroom__proof__free_unpacked(proof, NULL);

    drills->world->now_ms += HOUR; /* once is enough */
    step(drills);
    assert_int_equal(sr_counter_read(&metrics(drills)->proven), 1);
    end(drills);
}

static void test_each_snapshot_or_so_often_as_is_said(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    step(drills);
    ship_another(drills);
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    assert_int_equal(sr_counter_read(&metrics(drills)->proven), 2);
    drills->world->config.drill_every_ms = HOUR;
    ship_another(drills);
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    drills->world->now_ms += HOUR;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    end(drills);
}

/* One was made by a clock that was a year ahead, and is right now. */
static void test_a_clock_that_was_ahead_does_not_end_the_drills(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    drills->clock_ahead_ms = 365 * DAY;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    drills->clock_ahead_ms = 0;
    ship_another(drills);
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    drills->world->config.drill_every_ms = HOUR;
    ship_another(drills);
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED); /* the second one counts */
    end(drills);
}

/* ---- Bad ones ---- */

static void test_a_flipped_byte_is_found(void **state)
{
    struct drills *drills = begin(2);
    char path[256];
    (void)state;
    path_of(drills, SR_OBJECT_ARCHIVE, path);
    flip(path, 0.6);
    step(drills);
    assert_int_equal(result_of(drills, "edited"), BAD);
    assert_int_equal(failed(drills, SR_DRILL_BAD), 1);
    Strongroom__Proof *proof = read_proof(drills);
    assert_false(proof->good);
    assert_non_null(strstr(proof->reason, "edited"));
    strongroom__proof__free_unpacked(proof, NULL);
    ship_another(drills); /* and the next one is good again */
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    end(drills);
}

static void test_a_flipped_byte_of_changes_is_found(void **state)
{
    struct drills *drills = begin(2);
    struct objects objects = world_objects(drills->world, SR_ARCHIVE_CHANGES);
    char path[256] = "";
    (void)state;
    for (size_t i = 0; i < objects.count; i++) {
        if (strstr(objects.names[i], ".sra") != NULL) {
            (void)snprintf(path, sizeof(path), "%s/%s", drills->world->dir, objects.names[i]);
        }
    }
    sr_free(objects.names);
    flip(path, 0.9);
    step(drills);
    assert_int_equal(result_of(drills, "edited"), BAD);
    end(drills);
}

static void test_what_is_missing_is_found(void **state)
{
    struct drills *drills = begin(2);
    char path[256];
    (void)state;
    path_of(drills, SR_OBJECT_ARCHIVE, path);
    assert_int_equal(unlink(path), 0);
    step(drills);
    assert_int_equal(result_of(drills, ""), BAD);
    ship_another(drills);
    path_of(drills, SR_OBJECT_MANIFEST, path);
    assert_int_equal(unlink(path), 0);
    step(drills);
    assert_int_equal(result_of(drills, ""), BAD);
    assert_int_equal(failed(drills, SR_DRILL_BAD), 2);
    end(drills);
}

/* Signed by the cluster, and another one than the catalogue has. */
static void test_another_manifest_is_found(void **state)
{
    struct drills *drills = begin(2);
    char before[256];
    char path[256];
    char command[600];
    (void)state;
    path_of(drills, SR_OBJECT_MANIFEST, before);
    ship_another(drills); /* of the same revision */
    path_of(drills, SR_OBJECT_MANIFEST, path);
    (void)snprintf(command, sizeof(command), "cp -f '%s' '%s'", before, path);
    assert_int_equal(system(command), 0);
    step(drills);
    assert_int_equal(result_of(drills, ""), BAD);
    end(drills);
}

/* ---- What says nothing ---- */

static void test_a_target_that_is_away(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    step(drills);
    ship_another(drills);
    assert_int_equal(rename(drills->world->dir, drills->away), 0);
    step(drills);
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    assert_int_equal(failed(drills, SR_DRILL_NOT_FOUND), 1); /* the second is not tried yet */
    assert_false(has_scratch(drills));
    assert_int_equal(rename(drills->away, drills->world->dir), 0);
    drills->world->now_ms += MINUTE;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    end(drills);
}

static void test_a_full_disk(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    drills->drill->options.disk_reserve_bytes = UINT64_C(1) << 60;
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    assert_int_equal(failed(drills, SR_DRILL_DISK), 1);
    assert_int_equal(sr_counter_read(&metrics(drills)->fetched_bytes), 0);
    assert_false(has_scratch(drills));
    drills->drill->options.disk_reserve_bytes = 0;
    drills->world->now_ms += MINUTE;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    end(drills);
}

static void test_stopped_in_the_middle(void **state)
{
    struct drills *drills = begin(2);
    char path[256];
    (void)state;
    sr_drill_step(drills->drill);
    drills->stops_at = 2; /* once it has begun */
    sr_drill_step(drills->drill);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    proof_path(drills, path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(sr_counter_read(&metrics(drills)->proven), 0);
    end(drills);
}

static void test_what_a_crash_left_is_removed(void **state)
{
    struct drills *drills = begin(2);
    char command[600];
    (void)state;
    (void)snprintf(command, sizeof(command),
                   "mkdir -p '%s/drill/state' && echo x > '%s/drill/state/data.mdb'",
                   drills->data_dir, drills->data_dir);
    assert_int_equal(system(command), 0);
    assert_true(has_scratch(drills));
    sr_drill_free(drills->drill);
    open_drill(drills);
    assert_false(has_scratch(drills));
    end(drills);
}

/* With its thread: started and stopped at any moment. */
static void test_threads(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    for (long i = 0; i < 6; i++) {
        struct timespec moment = {.tv_nsec = i * 40000000};
        sr_drill_start(drills->drill);
        sr_drill_wake(drills->drill);
        (void)nanosleep(&moment, NULL);
        sr_drill_wake(drills->drill);
        (void)nanosleep(&moment, NULL);
        sr_drill_free(drills->drill);
        open_drill(drills);
        assert_false(has_scratch(drills));
    }
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    sr_drill_wake(NULL);
    sr_drill_stop(NULL);
    end(drills);
}

/* ---- Who ---- */

static void test_others_wait_for_who_shipped(void **state)
{
    struct drills *drills = begin(3); /* member 3 shipped */
    (void)state;
    drills->drill->options.member_id = 2;
    step(drills);
    drills->world->now_ms += 5 * MINUTE;
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    drills->world->leader = 0; /* with nobody to lead, nobody drills */
    drills->world->now_ms += 10 * MINUTE;
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    drills->world->leader = 1;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    end(drills);
}

/* ---- Results of others ---- */

static void put_proof(struct drills *drills, const uint8_t *seed, bool good, bool fits)
{
    Strongroom__OffsiteRecord *record;
    const Strongroom__OffsiteEntry *entry = newest(drills, &record);
    Strongroom__Proof proof = STRONGROOM__PROOF__INIT;
    struct sr_buf file = {0};
    struct sr_err err = {0};
    char path[256];
    static char target[] = "far";
    static char reason[] = "it does not fit";
    static char prover[] = "elsewhere";
    uint8_t id[SR_ARCHIVE_ID_BYTES] = {9};
    proof.format = 1;
    proof.cluster_id = FIXTURE_CLUSTER;
    proof.target = target;
    proof.sequence = entry->sequence;
    proof.archive_id =
        fits ? entry->archive_id : (ProtobufCBinaryData){.len = sizeof(id), .data = id};
    proof.manifest_sha256 = entry->manifest_sha256;
    proof.good = good;
    proof.reason = good ? proof.reason : reason;
    proof.prover = prover;
    proof.begun_ms = drills->world->now_ms - 2000;
    proof.ended_ms = drills->world->now_ms;
    fixture_ok(sr_proof_sign(&proof, seed, &file, &err), &err);
    world_record_free(record);
    struct sr_target_config config = {.url = drills->world->url};
    struct sr_target_put_options options = {.replace = true};
    struct sr_target *to = NULL;
    fixture_ok(sr_target_open(&config, &to, &err), &err);
    proof_path(drills, path);
    fixture_ok(sr_target_put_bytes(to, path + strlen(drills->world->dir) + 1, file.data, file.size,
                                   &options, &err),
               &err);
    sr_target_close(to);
    sr_buf_close(&file);
}

static void test_results_of_machines_elsewhere(void **state)
{
    struct drills *drills = begin(2);
    uint8_t stranger[SR_SIGNING_BYTES] = {1};
    char text[SR_RECOVERY_TEXT_CHARS_MAX];
    (void)state;
    sr_drill_free(drills->drill);
    drills->world->config.drill = false;
    (void)snprintf(drills->key_path, sizeof(drills->key_path), "%s/recovery.pub",
                   drills->world->dir);
    sr_recovery_public_format(&drills->world->recovery->public_half, text);
    FILE *out = fopen(drills->key_path, "w");
    assert_non_null(out);
    fprintf(out, "%s\n", text);
    fclose(out);
    drills->key_paths[0] = drills->key_path;
    drills->world->config.recovery_keys = drills->key_paths;
    drills->world->config.recovery_keys_count = 1;
    open_drill(drills);

    put_proof(drills, stranger, true, true);
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    put_proof(drills, drills->world->recovery->proof_seed, true, false);
    drills->world->now_ms += HOUR;
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    put_proof(drills, drills->world->recovery->proof_seed, false, true);
    drills->world->now_ms += HOUR;
    step(drills);
    assert_int_equal(result_of(drills, "it does not fit"), BAD);
    put_proof(drills, drills->world->recovery->proof_seed, true, true);
    drills->world->now_ms += HOUR;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    assert_int_equal(sr_counter_read(&metrics(drills)->adopted), 2);
    drills->world->now_ms += HOUR; /* it is no news any more */
    step(drills);
    assert_int_equal(sr_counter_read(&metrics(drills)->adopted), 2);
    end(drills);
}

static void test_what_was_not_taken_is_not_drilled_again(void **state)
{
    struct drills *drills = begin(2);
    (void)state;
    drills->refusals = 1;
    step(drills);
    assert_int_equal(result_of(drills, ""), NOT_DRILLED);
    assert_int_equal(failed(drills, SR_DRILL_RECORD), 1);
    uint64_t fetched = sr_counter_read(&metrics(drills)->fetched_bytes);
    drills->world->now_ms += MINUTE;
    step(drills);
    assert_int_equal(result_of(drills, ""), GOOD);
    assert_int_equal(sr_counter_read(&metrics(drills)->fetched_bytes), fetched);
    end(drills);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_can_be_restored_is_good),
        cmocka_unit_test(test_each_snapshot_or_so_often_as_is_said),
        cmocka_unit_test(test_a_clock_that_was_ahead_does_not_end_the_drills),
        cmocka_unit_test(test_a_flipped_byte_is_found),
        cmocka_unit_test(test_a_flipped_byte_of_changes_is_found),
        cmocka_unit_test(test_what_is_missing_is_found),
        cmocka_unit_test(test_another_manifest_is_found),
        cmocka_unit_test(test_a_target_that_is_away),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_stopped_in_the_middle),
        cmocka_unit_test(test_what_a_crash_left_is_removed),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_others_wait_for_who_shipped),
        cmocka_unit_test(test_results_of_machines_elsewhere),
        cmocka_unit_test(test_what_was_not_taken_is_not_drilled_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
