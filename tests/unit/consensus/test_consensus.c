/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole of it, with threads: three nodes in one process, each with a log, a store and links
 * over TLS.
 */
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/consensus/consensus.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "test_pki.h"
#include "tests/unit/cmocka.h"

#define CLUSTER     UINT64_C(0xc1)
#define NODES       3
#define PATIENCE_MS 60000

#ifdef __SANITIZE_THREAD__
/* libuv closes files by a system call that ThreadSanitizer does not see, and then takes the next
 * owner of the number for the former one. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libuv.so\n";
}
#endif

static const uint8_t kek[SR_KEY_BYTES] = "the master key of these tests 32";

struct node {
    uint64_t id;
    char dir[96];
    char paths[2][128]; /* log, state */
    char files[3][128]; /* certificate, key, CA */
    struct sr_keyring *keyring;
    struct sr_store *store;
    struct sr_raftlog *log;
    struct sr_raftlog_state log_state;
    struct sr_consensus *consensus;
    struct sr_mailbox answers;
    struct sr_origins origins;
    uint64_t origin;
    uint64_t sequence;
    atomic_bool failed;
};

static char root[64];
static char addresses[NODES][32];
static struct node nodes[NODES];

/* ---- a node's life ---- */

static void must(int status, const struct sr_err *err)
{
    if (status != SR_OK) {
        print_error("%s: %s\n", sr_status_text(status), err->text);
    }
    assert_int_equal(status, SR_OK);
}

static void on_failure(void *arg, const struct sr_err *err)
{
    struct node *node = arg;
    fprintf(stderr, "node %llu: %s\n", (unsigned long long)node->id, err->text);
    atomic_store(&node->failed, true);
}

static void make_node(size_t at)
{
    struct node *node = &nodes[at];
    char path[160];
    struct sr_err err;
    *node = (struct node){.id = at + 1};
    snprintf(node->dir, sizeof(node->dir), "%s/%zu", root, at + 1);
    snprintf(node->paths[0], sizeof(node->paths[0]), "%s/%zu/log", root, at + 1);
    snprintf(node->paths[1], sizeof(node->paths[1]), "%s/%zu/state", root, at + 1);
    snprintf(node->files[0], sizeof(node->files[0]), "%s/node-%zu.crt", root, at + 1);
    snprintf(node->files[1], sizeof(node->files[1]), "%s/node-%zu.key", root, at + 1);
    snprintf(node->files[2], sizeof(node->files[2]), "%s/ca.crt", root);
    assert_int_equal(mkdir(node->dir, 0700), 0);
    assert_int_equal(mkdir(node->paths[0], 0700), 0);
    assert_int_equal(mkdir(node->paths[1], 0700), 0);
    snprintf(path, sizeof(path), "%s/keyring", node->dir);
    must(sr_keyring_create(path, kek, CLUSTER, node->id, &err), &err);
    must(sr_keyring_open(path, kek, CLUSTER, node->id, &node->keyring, &err), &err);
}

static void open_storage(struct node *node)
{
    struct sr_err err;
    struct sr_store_options store = {.dir = node->paths[1],
                                     .keyring = node->keyring,
                                     .cluster_id = CLUSTER,
                                     .member_id = node->id,
                                     .map_bytes = (size_t)1 << 30};
    must(sr_store_open(&store, &node->store, &err), &err);
    struct sr_raftlog_options log = {.dir = node->paths[0],
                                     .keyring = node->keyring,
                                     .cluster_id = CLUSTER,
                                     .member_id = node->id,
                                     .segment_bytes = (size_t)1 << 20};
    must(sr_raftlog_open(&log, &node->log, &node->log_state, &err), &err);
}

static int start_consensus(struct node *node, size_t count, const char *listen, struct sr_err *err)
{
    static const char *const names[NODES] = {"node-1", "node-2", "node-3"};
    struct sr_consensus_member members[NODES];
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct sr_consensus_member){
            .id = i + 1, .name = names[i], .zone = "z", .peer_address = addresses[i]};
    }
    struct sr_tls_files tls = {
        .certificate = node->files[0], .private_key = node->files[1], .ca = node->files[2]};
    struct sr_consensus_options options = {
        .cluster_id = CLUSTER,
        .self = node->id,
        .members = members,
        .member_count = count,
        .peer_listen = listen,
        .peer_tls = &tls,
        .election_timeout_ms = 1000, /* sanitizers are slow */
        .tick_ms = 25,
        .log = node->log,
        .log_state = node->log_state,
        .store = node->store,
        .origins = &node->origins,
        .log_keep_bytes = 1 << 20,
        .on_failure = on_failure,
        .arg = node,
    };
    return sr_consensus_start(&options, &node->consensus, err);
}

static void start(size_t at, size_t count)
{
    struct node *node = &nodes[at];
    struct sr_err err;
    open_storage(node);
    sr_mailbox_init(&node->answers, SIZE_MAX, NULL, NULL);
    node->origins = (struct sr_origins){0};
    node->origin = sr_origins_add(&node->origins, &node->answers);
    must(start_consensus(node, count, addresses[at], &err), &err);
}

static void close_storage(struct node *node)
{
    struct sr_mail *list = sr_mailbox_take(&node->answers);
    while (list != NULL) {
        struct sr_answer *answer = sr_container(list, struct sr_answer, mail);
        list = list->next;
        sr_answer_free(answer);
    }
    sr_mailbox_close(&node->answers);
    sr_raftlog_close(node->log);
    sr_store_close(node->store);
    node->log = NULL;
    node->store = NULL;
}

static void stop(size_t at)
{
    struct node *node = &nodes[at];
    sr_consensus_stop(node->consensus);
    node->consensus = NULL;
    close_storage(node);
    assert_false(atomic_load(&node->failed));
}

/* ---- what clients do ---- */

static void propose(struct node *node, uint64_t number)
{
    char key[32];
    int size = snprintf(key, sizeof(key), "key-%llu", (unsigned long long)number % 100);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){(size_t)size, (uint8_t *)key};
    put.value = (ProtobufCBinaryData){(size_t)size, (uint8_t *)key};
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = node->origin;
    command.sequence = ++node->sequence;
    command.actor = (char[]){"test"};
    command.operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
    command.put = &put;
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = command.origin;
    proposal->sequence = command.sequence;
    strongroom__command__pack(
        &command,
        sr_buf_extend(&proposal->command, strongroom__command__get_packed_size(&command)));
    assert_true(sr_consensus_propose(node->consensus, proposal));
}

static void ask(struct node *node)
{
    struct sr_read *read = sr_zalloc(sizeof(*read));
    read->origin = node->origin;
    read->sequence = ++node->sequence;
    assert_true(sr_consensus_read(node->consensus, read));
}

/* Answers, of any order; how many of them were good. */
static size_t wait_answers(struct node *node, size_t count, uint64_t *ret_index)
{
    size_t good = 0;
    for (size_t i = 0; i < count;) {
        struct sr_mail *list = sr_mailbox_take(&node->answers);
        if (list == NULL) {
            sr_mailbox_wait(&node->answers, PATIENCE_MS);
        }
        while (list != NULL) {
            struct sr_answer *answer = sr_container(list, struct sr_answer, mail);
            list = list->next;
            good += answer->error == SR_API_NONE;
            if (ret_index != NULL) {
                *ret_index = answer->index;
            }
            sr_answer_free(answer);
            i++;
        }
    }
    return good;
}

static size_t wait_leader(size_t not_this)
{
    for (unsigned waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += 10) {
        for (size_t i = 0; i < NODES; i++) {
            struct sr_consensus_info info = {0};
            if (i != not_this && nodes[i].consensus != NULL) {
                sr_consensus_info(nodes[i].consensus, &info);
            }
            if (info.is_leader) {
                return i;
            }
        }
        usleep(10000);
    }
    fail_msg("no leader");
    return NODES;
}

static void wait_applied(struct node *node, uint64_t index)
{
    for (unsigned waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += 10) {
        if (sr_store_applied_index(node->store) >= index) {
            return;
        }
        usleep(10000);
    }
    fail_msg("index %llu is not applied", (unsigned long long)index);
}

/* ---- the tests ---- */

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    uint8_t net[2];
    snprintf(root, sizeof(root), "%.40s/consensus-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(root));
    assert_int_equal(getrandom(net, sizeof(net), 0), sizeof(net));
    test_pki_make(root);
    for (size_t i = 0; i < NODES; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "127.%d.%d.%zu:7390", net[0] % 200 + 20,
                 net[1], i + 1);
        make_node(i);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < NODES; i++) {
        sr_keyring_close(nodes[i].keyring);
    }
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_single_node_restarts(void **state)
{
    (void)state;
    uint64_t index = 0;
    start(0, 1);
    for (uint64_t i = 0; i < 500; i++) {
        propose(&nodes[0], i);
    }
    assert_int_equal(wait_answers(&nodes[0], 500, NULL), 500);
    int64_t revision = sr_store_revision(nodes[0].store);
    stop(0);
    start(0, 1);
    ask(&nodes[0]);
    assert_int_equal(wait_answers(&nodes[0], 1, &index), 1);
    assert_true(index > 0);
    assert_int_equal(sr_store_revision(nodes[0].store), revision);
    /* The only voter keeps leading: there is nobody to hand over to, nor to wait for. */
    assert_false(sr_consensus_step_down(nodes[0].consensus, UINT_MAX));
    stop(0);
}

static void expect_equal_states(void)
{
    uint8_t hashes[NODES][32];
    int64_t revisions[NODES];
    uint64_t index = 0;
    for (size_t i = 0; i < NODES; i++) {
        uint64_t applied = sr_store_applied_index(nodes[i].store);
        index = applied > index ? applied : index;
    }
    for (size_t i = 0; i < NODES; i++) {
        uint64_t at = 0;
        wait_applied(&nodes[i], index);
        sr_store_state_hash(nodes[i].store, hashes[i], &revisions[i], &at);
        assert_memory_equal(hashes[i], hashes[0], sizeof(hashes[0]));
        assert_int_equal(revisions[i], revisions[0]);
    }
}

static void write_everywhere(size_t except, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        for (size_t at = 0; at < NODES; at++) {
            if (at != except) {
                propose(&nodes[at], i);
                ask(&nodes[at]);
            }
        }
    }
    for (size_t at = 0; at < NODES; at++) {
        if (at != except) {
            assert_int_equal(wait_answers(&nodes[at], 2 * count, NULL), 2 * count);
        }
    }
}

static void test_three_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < NODES; i++) {
        start(i, NODES);
    }
    wait_leader(NODES);
    write_everywhere(NODES, 200);
    expect_equal_states();

    size_t leader = wait_leader(NODES);
    assert_true(sr_consensus_step_down(nodes[leader].consensus, PATIENCE_MS));
    stop(leader);
    wait_leader(leader);
    write_everywhere(leader, 200);

    start(leader, NODES);
    write_everywhere(NODES, 50);
    expect_equal_states();
    for (size_t i = 0; i < NODES; i++) {
        stop(i);
    }
}

/* Stopping answers everybody, whatever they wait for. */
static void test_stop_without_majority(void **state)
{
    (void)state;
    start(0, NODES);
    for (uint64_t i = 0; i < 100; i++) {
        propose(&nodes[0], i);
        ask(&nodes[0]);
    }
    sr_consensus_stop(nodes[0].consensus);
    nodes[0].consensus = NULL;
    assert_int_equal(wait_answers(&nodes[0], 200, NULL), 0);
    close_storage(&nodes[0]);
}

static void test_failed_start_leaves_nothing_behind(void **state)
{
    (void)state;
    struct node *node = &nodes[0];
    struct sr_err err;
    open_storage(node);
    sr_mailbox_init(&node->answers, SIZE_MAX, NULL, NULL);
    assert_int_not_equal(start_consensus(node, NODES, "203.0.113.7:1", &err), SR_OK);
    close_storage(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_single_node_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_three_nodes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop_without_majority, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_start_leaves_nothing_behind, set_up, tear_down),
    };
    sr_log_init(SR_LOG_ERROR, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
