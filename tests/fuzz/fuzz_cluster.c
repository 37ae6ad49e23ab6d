/* SPDX-License-Identifier: Apache-2.0
 *
 * What members and nodes that want to come in may do to the cluster record. The first byte of the
 * input chooses:
 *
 *   even  a sequence of changes of OP_BYTES each, whose values are drawn from a few, so that they
 *         meet; after each the record is a valid one, and the same wherever it was applied
 *   odd   a packed Command: its change is applied to a record that an image brought, which comes
 *         first with its size as u16
 *
 * A node then asks for a place, as node/cluster/join_server.c is asked.
 */
#include <string.h>

#include "base/check.h"
#include "node/cluster/join_match.h"
#include "node/cluster/joined.h"
#include "node/cluster/token.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "storage/cluster_change.h"

#define OP_BYTES  6
#define OPS_MAX   200
#define TOKENS    4
#define COUNT(of) (sizeof(of) / sizeof((of)[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- The values ---- */

static char *const names[] = {"",
                              "a",
                              "b",
                              "c",
                              "n-1",
                              "-",
                              "A",
                              "a.b",
                              "a\n",
                              "n9",
                              "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
static char *const addresses[] = {"a:1",    "b:1",     "c:1",  "d:65535", "[::1]:2380", "e:2",
                                  "f:3",    "g:4",     "h:5",  "i:6",     "j:7",        "",
                                  "a",      ":1",      "a:0",  "a:65536", "[::1:1",     "::1:1",
                                  "a b:80", "[]:2380", "a/b:1"};
static char *const urls[] = {"https://a:1", "https://[::1]:2", "http://a:1", "https://a:1/", ""};
static uint8_t hashes[TOKENS][SR_TOKEN_HASH_BYTES];

/* A record of its own for each draw, whose pointers are to what is above. */
struct drawn {
    Strongroom__MemberRecord member;
    Strongroom__AlarmRecord alarm;
    Strongroom__MemberAddress address;
    char *client_urls[SR_CLIENT_URLS_MAX + 1];
};

static uint64_t draw_id(uint8_t byte)
{
    return byte % 16 == 15 ? UINT64_MAX - byte / 16 : byte % 16;
}

static void draw_member(const uint8_t *op, struct drawn *ret)
{
    Strongroom__MemberRecord *member = &ret->member;
    strongroom__member_record__init(member);
    member->id = draw_id(op[1]);
    member->name = names[op[2] % COUNT(names)];
    member->zone = names[op[2] / 16 % COUNT(names)];
    member->peer_address = addresses[op[3] % COUNT(addresses)];
    member->voter = op[4] % 2 == 1;
    member->feature_level = op[4] / 2 % 4;
    member->n_client_urls = (op[4] & 0x80) != 0 ? op[5] % COUNT(ret->client_urls) : op[5] % 2;
    for (size_t i = 0; i < member->n_client_urls; i++) {
        ret->client_urls[i] = urls[(op[5] / 8 + i) % COUNT(urls)];
    }
    member->client_urls = ret->client_urls;
    if ((op[4] & 0x40) != 0) {
        size_t cut = (op[4] & 0x20) != 0;
        member->token_hash =
            (ProtobufCBinaryData){SR_TOKEN_HASH_BYTES - cut, hashes[op[3] % TOKENS]};
    }
}

/* A first record: each op from here on is one of its members. Returns how many bytes it used. */
static size_t draw_init(const uint8_t *data, size_t size, Strongroom__ClusterRecord *record,
                        struct drawn *drawn, Strongroom__MemberRecord **members)
{
    size_t count = data[1] % (SR_MEMBERS_MAX + 2);
    strongroom__cluster_record__init(record);
    for (size_t i = 0; i < count && (i + 2) * OP_BYTES <= size; i++) {
        draw_member(data + (i + 1) * OP_BYTES, &drawn[i]);
        members[record->n_members++] = &drawn[i].member;
    }
    record->members = members;
    return record->n_members * OP_BYTES;
}

/* ---- Applying ---- */

struct run {
    Strongroom__ClusterRecord *record; /* unpacked with the system's allocator */
    uint64_t index;
};

static size_t count_learners(const Strongroom__ClusterRecord *record)
{
    size_t count = 0;
    for (size_t i = 0; i < record->n_members; i++) {
        count += !record->members[i]->voter;
    }
    return count;
}

static void check_next(const Strongroom__ClusterRecord *before,
                       const Strongroom__ClusterRecord *after,
                       const Strongroom__ClusterChange *change)
{
    size_t learners = count_learners(before);
    sr_check(sr_cluster_is_record(after));
    sr_check(after->epoch == before->epoch + 1);
    sr_check(change->change_case == STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT ||
             count_learners(after) <= (learners > SR_LEARNERS_MAX ? learners : SR_LEARNERS_MAX));
    for (size_t i = 0; i < before->n_members; i++) { /* nobody leaves without being noted */
        uint64_t id = before->members[i]->id;
        sr_check(sr_cluster_member(after, id) != NULL ||
                 (after->n_removed > 0 && after->removed[after->n_removed - 1] == id));
    }
}

/* @change as the log has it: packed and unpacked, once more for each node that applies it. */
static enum sr_api_error apply_copy(const struct run *run, const Strongroom__ClusterChange *change,
                                    struct sr_buf *ret_packed)
{
    size_t size = strongroom__cluster_record__get_packed_size(run->record);
    struct sr_buf record = {0};
    struct sr_buf packed = {0};
    strongroom__cluster_record__pack(run->record, sr_buf_extend(&record, size));
    size_t change_size = strongroom__cluster_change__get_packed_size(change);
    strongroom__cluster_change__pack(change, sr_buf_extend(&packed, change_size));
    Strongroom__ClusterRecord *own = strongroom__cluster_record__unpack(NULL, size, record.data);
    Strongroom__ClusterChange *told =
        strongroom__cluster_change__unpack(NULL, change_size, packed.data);
    sr_check(own != NULL && told != NULL);
    enum sr_api_error error = sr_cluster_change(own, told, run->index, ret_packed);
    strongroom__cluster_record__free_unpacked(own, NULL);
    strongroom__cluster_change__free_unpacked(told, NULL);
    sr_buf_close(&record);
    sr_buf_close(&packed);
    return error;
}

static void apply(struct run *run, const Strongroom__ClusterChange *change)
{
    struct sr_buf packed = {0};
    struct sr_buf again = {0};
    struct sr_buf body = {0};
    run->index++;
    enum sr_api_error error = sr_cluster_change(run->record, change, run->index, &packed);
    sr_check(apply_copy(run, change, &again) == error);
    sr_check(sr_bytes_equal((struct sr_bytes){packed.data, packed.size},
                            (struct sr_bytes){again.data, again.size}));
    sr_check(error == SR_API_NONE || packed.size == 0);
    Strongroom__ClusterRecord *before = run->record;
    if (packed.size > 0) {
        run->record = strongroom__cluster_record__unpack(NULL, packed.size, packed.data);
        sr_check(run->record != NULL);
        check_next(before, run->record, change);
    }
    if (error == SR_API_NONE) {
        sr_cluster_answer(before, run->record, change, &body);
    }
    if (before != run->record) {
        strongroom__cluster_record__free_unpacked(before, NULL);
    }
    sr_buf_close(&packed);
    sr_buf_close(&again);
    sr_buf_close(&body);
}

/* One op at @op, of which there are @size bytes; returns how many more than OP_BYTES it used. */
static size_t apply_op(struct run *run, const uint8_t *op, size_t size)
{
    static struct drawn drawn[SR_MEMBERS_MAX + 2];
    Strongroom__MemberRecord *members[SR_MEMBERS_MAX + 2];
    Strongroom__ClusterRecord init;
    Strongroom__Check check = STRONGROOM__CHECK__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    size_t used = 0;
    change.change_case = (Strongroom__ClusterChange__ChangeCase)(3 + (op[0] & 0x0f) % 10);
    change.expected_epoch = (op[0] & 0x10) != 0 ? run->record->epoch : (op[0] & 0x20) != 0;
    if (change.change_case == STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT) {
        used = draw_init(op, size, &init, drawn, members);
    } else {
        draw_member(op, &drawn[0]);
    }
    strongroom__alarm_record__init(&drawn[0].alarm);
    strongroom__member_address__init(&drawn[0].address);
    drawn[0].alarm.member_id = drawn[0].address.id = draw_id(op[1]);
    drawn[0].alarm.alarm = op[2] % 4;
    drawn[0].alarm.index = op[3];
    drawn[0].address.peer_address = addresses[op[3] % COUNT(addresses)];
    switch (change.change_case) {
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT:
        change.init = &init;
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE:
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE:
        change.remove = draw_id(op[1]);
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE:
        change.update = &drawn[0].address;
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE:
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR:
        change.raise = &drawn[0].alarm;
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_CHECK:
        change.check = &check;
        break;
    default:
        change.add = &drawn[0].member;
        break;
    }
    apply(run, &change);
    return used;
}

/* ---- Asking for a place ---- */

static void welcome(const Strongroom__ClusterRecord *record, uint64_t member)
{
    Strongroom__JoinReply reply;
    strongroom__join_reply__init(&reply);
    reply.cluster_id = 1;
    reply.member_id = member;
    size_t size = strongroom__cluster_record__get_packed_size(record);
    struct sr_buf packed = {0};
    strongroom__cluster_record__pack(record, sr_buf_extend(&packed, size));
    reply.record = strongroom__cluster_record__unpack(NULL, size, packed.data);
    sr_check(sr_joined_check(&reply, NULL) == SR_OK);
    strongroom__cluster_record__free_unpacked(reply.record, NULL);
    sr_buf_close(&packed);
}

static struct sr_join_asker asker_of(const Strongroom__JoinRequest *request, uint8_t key,
                                     bool has_name)
{
    uint8_t keys[SR_TOKEN_KEY_BYTES] = {key};
    struct sr_join_asker asker = {.has_name = has_name};
    sr_token_claim(keys, (const char *)request->token.data, request->token.len, asker.claim);
    return asker;
}

/* Whoever fits gets the place, may ask for it again, and nobody else gets it. */
static void join(struct run *run, const Strongroom__JoinRequest *request, bool has_name)
{
    struct sr_err err = {0};
    struct sr_join_asker asker = asker_of(request, 1, has_name);
    struct sr_join_asker other = asker_of(request, 2, has_name);
    size_t at = sr_join_match(run->record, request, &asker, &err);
    sr_check(at <= run->record->n_members && (at < run->record->n_members || err.text[0] != 0));
    if (at == run->record->n_members || run->record->epoch == 0) {
        return;
    }
    Strongroom__MemberRecord own;
    strongroom__member_record__init(&own);
    own.id = run->record->members[at]->id;
    own.name = request->name;
    own.zone = request->zone;
    own.peer_address = run->record->members[at]->peer_address;
    own.client_urls = request->client_urls;
    own.n_client_urls = request->n_client_urls;
    own.feature_level = request->feature_level;
    own.token_hash.data = asker.claim;
    own.token_hash.len = sizeof(asker.claim);
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_CLAIM;
    change.claim = &own;
    uint64_t before = run->record->epoch;
    apply(run, &change);
    if (run->record->epoch != before) {
        welcome(run->record, own.id);
        at = sr_join_match(run->record, request, &other, &err);
        sr_check(at == run->record->n_members || run->record->members[at]->id != own.id);
    }
}

static void join_op(struct run *run, const uint8_t *op)
{
    struct drawn drawn;
    uint8_t token = op[3] % TOKENS;
    Strongroom__JoinRequest request;
    strongroom__join_request__init(&request);
    draw_member(op, &drawn);
    request.name = drawn.member.name;
    request.zone = drawn.member.zone;
    request.peer_address = drawn.member.peer_address;
    request.client_urls = drawn.member.client_urls;
    request.n_client_urls = drawn.member.n_client_urls;
    request.feature_level = drawn.member.feature_level;
    request.token = (ProtobufCBinaryData){(op[4] & 0x40) != 0, &token};
    join(run, &request, (op[0] & 0x10) == 0);
}

/* ---- A run ---- */

static void run_ops(const uint8_t *data, size_t size)
{
    struct run run = {.record = strongroom__cluster_record__unpack(NULL, 0, NULL)};
    for (unsigned i = 0; i < OPS_MAX && size >= OP_BYTES; i++) {
        size_t used = OP_BYTES;
        if ((data[0] & 0xc0) == 0xc0) {
            join_op(&run, data);
        } else {
            used += apply_op(&run, data, size);
        }
        data += used;
        size -= used;
    }
    strongroom__cluster_record__free_unpacked(run.record, NULL);
}

static void run_packed(const uint8_t *data, size_t size)
{
    struct sr_arena arena;
    struct sr_reader reader = sr_reader_of(data, size);
    struct sr_bytes packed = sr_read_bytes(&reader, sr_read_u16(&reader));
    struct sr_bytes rest = sr_read_bytes(&reader, sr_reader_left(&reader));
    if (reader.failed) {
        return;
    }
    struct run run = {.record = NULL};
    if (sr_message_check(&strongroom__cluster_record__descriptor, packed.data, packed.size, NULL) ==
        SR_OK) { /* as storage/cluster_record.c takes it */
        run.record = strongroom__cluster_record__unpack(NULL, packed.size, packed.data);
    }
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    if (run.record != NULL && sr_cluster_is_record(run.record)) {
        struct sr_err err;
        Strongroom__Command *command = (Strongroom__Command *)sr_message_unpack_known(
            &strongroom__command__descriptor, &arena, rest.data, rest.size, &err);
        if (command != NULL && command->operation_case == STRONGROOM__COMMAND__OPERATION_CLUSTER) {
            apply(&run, command->cluster);
        }
        Strongroom__JoinRequest *request = (Strongroom__JoinRequest *)sr_message_unpack(
            &strongroom__join_request__descriptor, &arena, rest.data, rest.size, &err);
        if (request != NULL) {
            join(&run, request, true);
        }
    }
    sr_arena_close(&arena);
    if (run.record != NULL) {
        strongroom__cluster_record__free_unpacked(run.record, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_set_up;
    for (uint8_t i = 0; !is_set_up && i < TOKENS; i++) {
        sr_token_hash((const char *)&i, 1, hashes[i]);
    }
    is_set_up = true;
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        run_ops(data + 1, size - 1);
    } else {
        run_packed(data + 1, size - 1);
    }
    return 0;
}
