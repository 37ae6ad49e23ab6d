/* SPDX-License-Identifier: Apache-2.0
 *
 * A state that came takes the place of the old one, or does not: never half, whenever the node is
 * killed. Each case kills a process after one more step, until it comes through.
 */
#include "node/adopt.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "node/consensus/internal.h"
#include "storage/image.h"
#include "tests/unit/storage/commands.h"

#define OLD_INDEX 3
#define NEW_INDEX 60
#define NEW_TERM  (COMMANDS_TERM + 4)
#define VOTE_TERM (COMMANDS_TERM + 2)
#define VOTED_FOR 9

struct node {
    struct fixture source; /* where the image comes from */
    struct fixture keys;   /* of this node */
    char root[96];
    struct sr_datadir dir;
    struct sr_adopt_options options;
    char incoming[PATH_MAX];
};

/* libraft's packing of one voter named "m1". */
static const uint8_t configuration[] = {1,          /* members */ 1,
                                        0,          0,
                                        0,          0,
                                        0,          0,
                                        0,
                                        /* id */ 1, 0,
                                        0,          0,
                                        0,          0,
                                        0,          0,
                                        'm',        '1',
                                        0,          RAFT_VOTER};

static void configure(struct sr_store *store, uint64_t index, uint64_t term)
{
    struct sr_err err = {0};
    fixture_ok(sr_store_apply_configuration(store, index, term, configuration,
                                            sizeof(configuration), &err),
               &err);
}

static void settle(struct sr_store *store)
{
    struct sr_err err = {0};
    (void)sr_store_freeze(store, true);
    fixture_ok(sr_store_flush(store, &err), &err);
}

static void open_store(struct node *node, struct sr_store **ret)
{
    struct sr_err err = {0};
    struct sr_store_options options = node->options.store;
    options.dir = node->dir.state_path;
    fixture_ok(sr_store_open(&options, ret, &err), &err);
}

static void open_log(struct node *node, struct sr_raftlog **ret, struct sr_raftlog_state *ret_state)
{
    struct sr_err err = {0};
    fixture_ok(sr_raftlog_open(&node->options.log, ret, ret_state, &err), &err);
}

/* A log of @count entries, all of term @term. */
static void make_log(struct node *node, uint64_t count, uint64_t term)
{
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    struct sr_err err = {0};
    struct sr_log_entry entry = {
        .term = term, .type = SR_ENTRY_BARRIER, .data = sr_bytes_of("entry")};
    open_log(node, &log, &state);
    fixture_ok(sr_raftlog_set_vote(log, VOTE_TERM > term ? VOTE_TERM : term, VOTED_FOR, &err),
               &err);
    for (uint64_t i = 0; i < count; i++) {
        sr_raftlog_append(log, &entry, 1);
    }
    fixture_ok(sr_raftlog_sync(log, &err), &err);
    sr_raftlog_close(log);
}

static void make_old_state(struct node *node)
{
    struct sr_store *store = NULL;
    struct sr_err err = {0};
    open_store(node, &store);
    configure(store, 1, 1);
    fixture_ok(sr_store_apply_empty(store, 2, 1, &err), &err);
    fixture_ok(sr_store_apply_empty(store, OLD_INDEX, 1, &err), &err);
    settle(store);
    sr_store_close(store);
}

static void stage(struct node *node)
{
    struct sr_image_writer_options options = {
        .keyring = node->keys.keyring, .cluster_id = FIXTURE_CLUSTER, .member_id = FIXTURE_MEMBER};
    struct sr_image_writer *writer = NULL;
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    fixture_ok(sr_incoming_open(&node->dir, node->incoming, &err), &err);
    options.dir = node->incoming;
    fixture_ok(sr_image_writer_open(&options, &writer, &err), &err);
    fixture_ok(sr_image_reader_open(node->source.store, &reader, &err), &err);
    while (sr_image_reader_next(reader, &chunk, &err) == SR_OK) {
        fixture_ok(sr_image_writer_put(writer, &chunk, &err), &err);
    }
    sr_image_reader_close(reader);
    fixture_ok(sr_image_writer_finish(writer, &err), &err);
    sr_image_writer_close(writer);
}

static void fill_source(struct fixture *source)
{
    struct sr_err err = {0};
    configure(source->store, 1, 1);
    while (sr_store_applied_index(source->store) < NEW_INDEX - 1) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", (int)sr_store_applied_index(source->store));
        (void)apply(source, put_text(key, "value"));
    }
    fixture_ok(sr_store_apply_empty(source->store, NEW_INDEX, NEW_TERM, &err), &err);
    fixture_flush(source);
    commands_reset();
}

static int set_up(void **state)
{
    struct node *node = sr_zalloc(sizeof(*node));
    const char *base = getenv("TMPDIR");
    (void)snprintf(node->root, sizeof(node->root), "%.32s/adopt-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(node->root));
    fixture_init(&node->source);
    fixture_open(&node->source);
    fixture_init(&node->keys);
    fill_source(&node->source);
    *state = node;
    return 0;
}

static int tear_down(void **state)
{
    struct node *node = *state;
    char command[160];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", node->root);
    assert_int_equal(system(command), 0);
    fixture_close(&node->source);
    fixture_close(&node->keys);
    sr_free(node);
    return 0;
}

/* An empty data directory of its own for each round. */
static void begin(struct node *node, const char *name)
{
    struct sr_datadir *dir = &node->dir;
    memset(dir, 0, sizeof(*dir));
    (void)snprintf(dir->path, sizeof(dir->path), "%s/%s", node->root, name);
    (void)snprintf(dir->log_path, sizeof(dir->log_path), "%s/%s/log", node->root, name);
    (void)snprintf(dir->state_path, sizeof(dir->state_path), "%s/%s/state", node->root, name);
    assert_int_equal(mkdir(dir->path, 0700), 0);
    assert_int_equal(mkdir(dir->log_path, 0700), 0);
    assert_int_equal(mkdir(dir->state_path, 0700), 0);
    node->options = (struct sr_adopt_options){
        .store = {.keyring = node->keys.keyring,
                  .cluster_id = FIXTURE_CLUSTER,
                  .member_id = FIXTURE_MEMBER},
        .log = {.dir = dir->log_path,
                .keyring = node->keys.keyring,
                .cluster_id = FIXTURE_CLUSTER,
                .member_id = FIXTURE_MEMBER,
                .segment_bytes = 65536},
    };
}

static void complete(struct node *node)
{
    struct sr_err err = {0};
    fixture_ok(sr_incoming_complete(&node->dir, &err), &err);
    assert_true(sr_incoming_is_complete(&node->dir));
}

static void check_nothing_left(const struct node *node)
{
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/incoming", node->dir.path);
    assert_int_not_equal(access(path, F_OK), 0);
    (void)snprintf(path, sizeof(path), "%s/replaced", node->dir.path);
    assert_int_not_equal(access(path, F_OK), 0);
}

static uint64_t manifest_of(struct sr_raftlog *log)
{
    struct sr_core_manifest manifest = {0};
    struct sr_buf packed = {0};
    struct sr_err err = {0};
    if (sr_raftlog_get_manifest(log, &packed, &err) == SR_OK) {
        fixture_ok(
            sr_core_manifest_unpack((struct sr_bytes){packed.data, packed.size}, &manifest, &err),
            &err);
        assert_int_equal(manifest.term, NEW_TERM);
        assert_int_equal(manifest.configuration_index, 1);
    }
    sr_buf_close(&packed);
    return manifest.index;
}

/* The new state, and a log that follows it. */
static void check_new(struct node *node, uint64_t last_index, uint64_t term)
{
    struct sr_store *store = NULL;
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    struct sr_store_point a;
    struct sr_store_point b;
    open_store(node, &store);
    sr_store_point(store, &a);
    sr_store_point(node->source.store, &b);
    assert_int_equal(a.index, NEW_INDEX);
    assert_int_equal(a.revision, b.revision);
    assert_memory_equal(a.state_hash, b.state_hash, sizeof(a.state_hash));
    sr_buf_close(&a.configuration);
    sr_buf_close(&b.configuration);
    sr_store_close(store);
    open_log(node, &log, &state);
    assert_int_equal(state.term, term);
    assert_int_equal(state.voted_for, term == NEW_TERM ? 0 : VOTED_FOR);
    assert_int_equal(state.last_index, last_index);
    assert_true(state.first_index <= NEW_INDEX + 1);
    assert_int_equal(manifest_of(log), NEW_INDEX);
    sr_raftlog_close(log);
    check_nothing_left(node);
}

static void check_old(struct node *node, uint64_t last_index)
{
    struct sr_store *store = NULL;
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    open_store(node, &store);
    assert_int_equal(sr_store_applied_index(store), OLD_INDEX);
    sr_store_close(store);
    open_log(node, &log, &state);
    assert_int_equal(state.last_index, last_index);
    assert_int_equal(state.first_index, 1);
    sr_raftlog_close(log);
}

static void adopt(struct node *node)
{
    struct sr_err err = {0};
    fixture_ok(sr_adopt(&node->dir, &node->options, &err), &err);
}

static void nothing_is_adopted_that_is_not_complete(void **state)
{
    struct node *node = *state;
    begin(node, "a");
    make_old_state(node);
    make_log(node, 5, 1);
    adopt(node);
    check_old(node, 5);
    stage(node);
    adopt(node);
    check_old(node, 5);
    assert_int_equal(access(node->incoming, F_OK), 0); /* to be gone on with */
    struct sr_err err = {0};
    fixture_ok(sr_incoming_discard(&node->dir, &err), &err);
    check_nothing_left(node);
    fixture_ok(sr_incoming_discard(&node->dir, &err), &err);
    check_old(node, 5);
}

static void a_complete_image_takes_the_place(void **state)
{
    struct node *node = *state;
    begin(node, "a");
    make_old_state(node);
    make_log(node, 5, 1);
    stage(node);
    complete(node);
    struct sr_err err = {0};
    assert_int_equal(sr_incoming_open(&node->dir, node->incoming, &err), SR_EXISTS);
    adopt(node);
    check_new(node, NEW_INDEX, NEW_TERM);
    adopt(node);
    check_new(node, NEW_INDEX, NEW_TERM);
}

static void a_new_member_adopts_too(void **state)
{
    struct node *node = *state;
    begin(node, "a"); /* neither state nor log */
    stage(node);
    complete(node);
    adopt(node);
    check_new(node, NEW_INDEX, NEW_TERM);
}

/* Whatever was acknowledged after the point stays; what contradicts it goes. */
static void entries_after_the_point_stay_if_they_agree(void **state)
{
    struct node *node = *state;
    begin(node, "agrees");
    make_old_state(node);
    make_log(node, NEW_INDEX + 7, NEW_TERM);
    stage(node);
    complete(node);
    adopt(node);
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state log_state;
    open_log(node, &log, &log_state);
    assert_int_equal(log_state.last_index, NEW_INDEX + 7);
    assert_int_equal(log_state.term, NEW_TERM);
    assert_int_equal(log_state.voted_for, VOTED_FOR);
    assert_int_equal(manifest_of(log), NEW_INDEX);
    sr_raftlog_close(log);
    check_nothing_left(node);

    begin(node, "differs");
    make_old_state(node);
    make_log(node, NEW_INDEX + 7, 1);
    stage(node);
    complete(node);
    adopt(node);
    check_new(node, NEW_INDEX, NEW_TERM);
}

static void an_image_behind_the_log_is_thrown_away(void **state)
{
    struct node *node = *state;
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state log_state;
    struct sr_err err = {0};
    begin(node, "a");
    make_old_state(node);
    make_log(node, 5, 1);
    open_log(node, &log, &log_state);
    fixture_ok(sr_raftlog_reset(log, NEW_INDEX + 1, &err), &err);
    sr_raftlog_close(log);
    stage(node);
    complete(node);
    adopt(node);
    struct sr_store *store = NULL;
    open_store(node, &store);
    assert_int_equal(sr_store_applied_index(store), OLD_INDEX);
    sr_store_close(store);
    check_nothing_left(node);
}

static void an_image_that_rotted_is_thrown_away(void **state)
{
    struct node *node = *state;
    begin(node, "a");
    make_old_state(node);
    make_log(node, 5, 1);
    stage(node);
    complete(node);
    char path[PATH_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/data.mdb", node->incoming);
    assert_int_equal(truncate(path, 8192), 0);
    adopt(node);
    check_old(node, 5);
    check_nothing_left(node);
}

/* ---- Killed ---- */

static void count_down(void *arg)
{
    int *left = arg;
    if (--*left == 0) {
        _exit(42);
    }
}

/* Adopt in a process that is killed after @steps; whether it was. */
static bool adopt_killed(struct node *node, int steps)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sr_err err = {0};
        node->options.step = count_down;
        node->options.arg = &steps;
        _exit(sr_adopt(&node->dir, &node->options, &err) == SR_OK ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 42 || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == 42;
}

static void killed_at_any_step_it_comes_to_the_same_end(void **state)
{
    struct node *node = *state;
    int kills = 0;
    for (int first = 1;; first++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "kill-%d", first);
        begin(node, name);
        make_old_state(node);
        make_log(node, 5, 1);
        stage(node);
        complete(node);
        if (!adopt_killed(node, first)) {
            break;
        }
        kills++;
        /* As a start does before it adopts. */
        assert_true(mkdir(node->dir.state_path, 0700) == 0 || errno == EEXIST);
        while (adopt_killed(node, 1)) { /* and again, after each first step */
            assert_true(++kills < 100);
            (void)mkdir(node->dir.state_path, 0700);
            if (kills % 2 == 0) {
                adopt(node);
            }
        }
        adopt(node);
        check_new(node, NEW_INDEX, NEW_TERM);
    }
    assert_true(kills >= 8);
    check_new(node, NEW_INDEX, NEW_TERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_adopted_that_is_not_complete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_complete_image_takes_the_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_new_member_adopts_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(entries_after_the_point_stay_if_they_agree, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_image_behind_the_log_is_thrown_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_image_that_rotted_is_thrown_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(killed_at_any_step_it_comes_to_the_same_end, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
