/* SPDX-License-Identifier: Apache-2.0
 *
 * A service over a real store, with rpc and consensus played by the test: calls are structs that
 * remember their answer, proposals and reads wait in lists until the test decides what becomes
 * of them, and mail comes when the test says turn().
 */
#ifndef SR_TESTS_UNIT_SERVICE_HARNESS_H
#define SR_TESTS_UNIT_SERVICE_HARNESS_H

#include "tests/unit/cmocka.h"

#include <string.h>

#include "base/alloc.h"
#include "node/service/service.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/rpc.pb-c.h"

#define CLUSTER_ID UINT64_C(0x1122334455667788)
#define MEMBER_ID  UINT64_C(0xfedcba9876543210)
#define TERM       7
#define TIMEOUT_MS 7000
#define SECOND_NS  UINT64_C(1000000000)

struct test_call {
    struct sr_call call;
    bool answered;
    enum sr_grpc_code code;
    char text[600];
    struct sr_buf reply;
    uint8_t *message;
};

/* What the test decides about consensus, and what it was asked. */
struct test_consensus {
    struct sr_consensus_info info;
    bool refuse;
    struct sr_mail *proposals; /* newest first */
    struct sr_mail *reads;
    size_t proposal_count;
    size_t read_count;
    uint64_t moved_to; /* whom the service wants to lead */
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t progress_count;
    uint64_t progress_age_ms;
    unsigned feature_level;
};
extern struct test_consensus consensus;

struct world {
    char dir[64];
    struct sr_keyring *keyring;
    struct sr_store *store;
    uint64_t index; /* of the last entry applied */
    struct sr_mailbox mailbox;
    size_t wakes;
    struct sr_origins origins;
    uint64_t origin;
    struct sr_service_context context;
    struct sr_service *service;
    struct sr_rpc_handler handler;
};

/* cmocka's setup and teardown; the state is a struct world. */
int world_open(void **state);
int world_close(void **state);
/* As world_open, on a disk that has less room than the reserve. */
int world_open_without_space(void **state);

/* ---- Calls ---- */

/* A call of @path with @request packed; not made yet. */
struct test_call *call_new(const char *path, const ProtobufCMessage *request);
struct test_call *call_new_raw(const char *path, const void *message, size_t size);
void call_make(struct world *world, struct test_call *test);
/* The client goes away: nothing of the call is left afterwards. */
void call_cancel(struct world *world, struct test_call *test);
void call_free(struct test_call *test);

/* New, made. */
struct test_call *call(struct world *world, const char *path, const ProtobufCMessage *request);
struct test_call *call_put(struct world *world, const char *key, const char *value);
struct test_call *call_range(struct world *world, const char *key, const char *end,
                             bool serializable);

/* The call failed so; frees it. */
void expect_error(struct test_call *test, enum sr_api_error error);
void expect_status(struct test_call *test, enum sr_grpc_code code, const char *text);
/* The call is still open. */
void expect_open(const struct test_call *test);
/* The call's answer, unpacked; released with protobuf_c_message_free_unpacked. Frees the call. */
void *expect_reply(struct test_call *test, const ProtobufCMessageDescriptor *descriptor);

static inline ProtobufCBinaryData bytes(const char *text)
{
    union {
        const char *in;
        uint8_t *out; /* protobuf-c has no const */
    } cast = {.in = text};
    return (ProtobufCBinaryData){.len = strlen(text), .data = cast.out};
}

/* ---- Consensus and the loop ---- */

/* Deliver the mail that waits, if any; false if there was none. */
bool turn(struct world *world);
/* Turns until no more mail comes. */
void turns(struct world *world);
/* Commit and apply everything that was proposed, oldest first, in one batch; answers are mail. */
void commit(struct world *world);
/* Answer everything that was proposed, and all reads, with @error; reads without when NONE. */
void refuse_proposals(struct world *world, enum sr_api_error error);
void answer_reads(struct world *world, enum sr_api_error error);
/* The oldest proposal, taken out; released with sr_proposal_free. */
struct sr_proposal *take_proposal(void);
/* Apply @change to the store, as if another node had proposed it. */
void apply_change(struct world *world, Strongroom__ClusterChange *change);
/* Put, commit, turns, expect OK. */
void put(struct world *world, const char *key, const char *value);
/* Put @count keys "<prefix>00000".. in few batches. */
void put_many(struct world *world, const char *prefix, size_t count);

#endif
