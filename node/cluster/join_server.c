/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/join_server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/cluster/join_match.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/member.h"
#include "storage/cluster.h"

#define TRIES_MAX 5
#define SLICE_MS  100
/* For all tries. Whoever asks hangs up after 20 s of silence, and asks again. */
#define PATIENCE_MS 15000

/* One request at a time, with an origin of its own: nobody waits for somebody else's claim. */
struct claimer {
    bool is_busy; /* under the server's mutex; the rest is its thread's then */
    uint64_t origin;
    uint64_t sequence;
    struct sr_mailbox mailbox;
};

struct sr_join_server {
    struct sr_store *store;
    _Atomic(struct sr_consensus *) consensus;
    uint64_t cluster_id;
    pthread_mutex_t mutex;
    struct claimer claimers[SR_PEER_BULK_MAX];
};

struct request {
    struct sr_join_server *server;
    struct claimer *claimer;
    struct sr_bulk *bulk;
    const Strongroom__JoinRequest *message;
    struct sr_join_asker asker;
    uint64_t deadline_ms;
};

static uint64_t now_ms(void)
{
    return sr_clock_monotonic_ns() / 1000000;
}

static struct claimer *take_claimer(struct sr_join_server *server)
{
    struct claimer *free_one = NULL;
    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < SR_PEER_BULK_MAX && free_one == NULL; i++) {
        if (!server->claimers[i].is_busy) {
            free_one = &server->claimers[i];
        }
    }
    sr_check(free_one != NULL); /* as many as there are bulk connections */
    free_one->is_busy = true;
    pthread_mutex_unlock(&server->mutex);
    return free_one;
}

static void give_back(struct sr_join_server *server, struct claimer *claimer)
{
    pthread_mutex_lock(&server->mutex);
    claimer->is_busy = false;
    pthread_mutex_unlock(&server->mutex);
}

/* ---- Claiming ---- */

static struct sr_proposal *make_claim(struct claimer *claimer, uint64_t epoch,
                                      const Strongroom__MemberRecord *own)
{
    Strongroom__MemberRecord claim = *own;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    change.expected_epoch = epoch;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_CLAIM;
    change.claim = &claim;
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = claimer->origin;
    command.sequence = ++claimer->sequence;
    command.actor = claim.name;
    command.wall_ms = sr_clock_wall_ms();
    command.operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command.cluster = &change;
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = command.origin;
    proposal->sequence = command.sequence;
    size_t size = strongroom__command__get_packed_size(&command);
    strongroom__command__pack(&command, sr_buf_extend(&proposal->command, size));
    return proposal;
}

/* What became of the newest claim; answers to earlier ones come too late. */
static bool take_answer(struct claimer *claimer, enum sr_api_error *ret)
{
    bool found = false;
    struct sr_mail *list = sr_mailbox_take(&claimer->mailbox);
    while (list != NULL) {
        struct sr_answer *answer = sr_container(list, struct sr_answer, mail);
        list = list->next;
        if (answer->sequence == claimer->sequence) {
            *ret = answer->error;
            found = true;
        }
        sr_answer_free(answer);
    }
    return found;
}

static enum sr_api_error claim(const struct request *request, uint64_t epoch,
                               const Strongroom__MemberRecord *own)
{
    enum sr_api_error error = SR_API_TIMED_OUT;
    struct claimer *claimer = request->claimer;
    struct sr_proposal *proposal = make_claim(claimer, epoch, own);
    if (!sr_consensus_propose(atomic_load(&request->server->consensus), proposal)) {
        sr_proposal_free(proposal);
        return SR_API_TOO_MANY_REQUESTS;
    }
    while (now_ms() < request->deadline_ms && !sr_bulk_is_stopped(request->bulk)) {
        sr_mailbox_wait(&claimer->mailbox, SLICE_MS);
        if (take_answer(claimer, &error)) {
            return error;
        }
    }
    return error;
}

/* ---- Answering ---- */

static int say(struct sr_bulk *bulk, Strongroom__JoinReply *reply, struct sr_err *err)
{
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_JOIN_REPLY;
    envelope.join_reply = reply;
    return sr_bulk_send(bulk, &envelope, (struct sr_bytes){NULL, 0}, err);
}

static void refuse(struct sr_bulk *bulk, const char *name, bool later, const char *reason)
{
    char text[SR_ERR_TEXT_MAX];
    Strongroom__JoinReply reply = STRONGROOM__JOIN_REPLY__INIT;
    snprintf(text, sizeof(text), "%s", reason);
    reply.refusal = text;
    reply.later = later;
    sr_log(SR_LOG_WARN, "join", later ? "not now" : "refused",
           "name=%.64s address=%s reason=\"%s\"", name, sr_bulk_address(bulk), text);
    (void)say(bulk, &reply, NULL);
}

static void welcome(struct sr_join_server *server, struct sr_bulk *bulk, uint64_t member)
{
    struct sr_err err = {0};
    Strongroom__ClusterRecord *record = NULL;
    Strongroom__JoinReply reply = STRONGROOM__JOIN_REPLY__INIT;
    if (sr_store_cluster(server->store, &record, &err) == SR_OK) {
        for (size_t i = 0; i < record->n_members; i++) {
            record->members[i]->token_hash.len = 0; /* its memory stays the record's */
        }
        reply.cluster_id = server->cluster_id;
        reply.member_id = member;
        reply.record = record;
        if (say(bulk, &reply, &err) == SR_OK) {
            sr_log(SR_LOG_INFO, "join", "let in", "member=%016" PRIx64 " address=%s", member,
                   sr_bulk_address(bulk));
        }
    }
    if (err.status != SR_OK) {
        sr_log(SR_LOG_WARN, "join", "not told its identity", "member=%016" PRIx64 " reason=\"%s\"",
               member, err.text);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

static enum sr_api_error claim_place(struct request *request, uint64_t epoch,
                                     const Strongroom__MemberRecord *place)
{
    const Strongroom__JoinRequest *message = request->message;
    Strongroom__MemberRecord own = STRONGROOM__MEMBER_RECORD__INIT;
    own.id = place->id;
    own.name = message->name;
    own.zone = message->zone;
    own.peer_address = place->peer_address;
    own.client_urls = message->client_urls;
    own.n_client_urls = message->n_client_urls;
    own.feature_level = message->feature_level;
    own.token_hash = (ProtobufCBinaryData){SR_TOKEN_HASH_BYTES, request->asker.claim};
    enum sr_api_error error = claim(request, epoch, &own);
    if (error != SR_API_NONE && error != SR_API_CLUSTER_CHANGED) {
        bool is_final = error == SR_API_MEMBER_CLAIMED || error == SR_API_MEMBER_INVALID ||
                        error == SR_API_MEMBER_NAME_EXISTS || error == SR_API_MEMBER_NOT_FOUND;
        refuse(request->bulk, message->name, !is_final, sr_api_error_text(error));
    }
    return error;
}

/* SR_API_NONE: it is @ret_member's. Otherwise it was answered, unless CLUSTER_CHANGED: again. */
static enum sr_api_error try_once(struct request *request, uint64_t *ret_member)
{
    struct sr_err err = {0};
    Strongroom__ClusterRecord *record = NULL;
    const char *name = request->message->name;
    if (sr_store_cluster(request->server->store, &record, &err) != SR_OK) {
        refuse(request->bulk, name, true, err.text);
        return SR_API_STORE_FAILED;
    }
    enum sr_api_error error = SR_API_MEMBER_NOT_FOUND;
    size_t at = sr_join_match(record, request->message, &request->asker, &err);
    if (record->epoch == 0) {
        refuse(request->bulk, name, true, "the record of the members is not there yet");
    } else if (at == record->n_members) {
        refuse(request->bulk, name, false, err.text);
    } else {
        *ret_member = record->members[at]->id;
        error = claim_place(request, record->epoch, record->members[at]);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    return error;
}

static void serve(struct request *request)
{
    enum sr_api_error error = SR_API_CLUSTER_CHANGED;
    uint64_t member = 0;
    for (int i = 0; i < TRIES_MAX && error == SR_API_CLUSTER_CHANGED; i++) {
        error = try_once(request, &member);
    }
    if (error == SR_API_NONE) {
        welcome(request->server, request->bulk, member);
    } else if (error == SR_API_CLUSTER_CHANGED) {
        refuse(request->bulk, request->message->name, true, "the members are changing");
    }
}

/* The request, if it is one. */
static const Strongroom__JoinRequest *receive(struct sr_bulk *bulk)
{
    struct sr_err err = {0};
    struct sr_frame frame;
    int status = sr_bulk_receive(bulk, &frame, &err);
    if (status == SR_OK &&
        frame.envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_JOIN_REQUEST) {
        status = sr_err_set(&err, SR_INVALID, "a message of kind %d where a request is expected",
                            (int)frame.envelope->message_case);
    }
    if (status != SR_OK) {
        sr_log(SR_LOG_WARN, "join", "no request", "address=%s reason=\"%s\"", sr_bulk_address(bulk),
               err.text);
        return NULL;
    }
    return frame.envelope->join_request;
}

void sr_join_server_serve(struct sr_join_server *server, struct sr_bulk *bulk)
{
    uint8_t key[SR_TOKEN_KEY_BYTES];
    const Strongroom__JoinRequest *message = receive(bulk);
    if (message == NULL) {
        return;
    }
    if (!sr_is_name(message->name) || !sr_bulk_peer_key(bulk, key)) {
        refuse(bulk, "?", false, "the name is malformed");
        return;
    }
    if (atomic_load(&server->consensus) == NULL) {
        refuse(bulk, message->name, true, "this member is starting");
        return;
    }
    struct request request = {.server = server,
                              .claimer = take_claimer(server),
                              .bulk = bulk,
                              .message = message,
                              .asker.has_name = sr_bulk_has_dns_name(bulk, message->name),
                              .deadline_ms = now_ms() + PATIENCE_MS};
    sr_token_claim(key, (const char *)message->token.data, message->token.len, request.asker.claim);
    serve(&request);
    give_back(server, request.claimer);
}

/* ---- All of it ---- */

struct sr_join_server *sr_join_server_new(struct sr_origins *origins, struct sr_store *store,
                                          uint64_t cluster_id)
{
    struct sr_join_server *server = sr_zalloc(sizeof(*server));
    server->store = store;
    server->cluster_id = cluster_id;
    sr_check(pthread_mutex_init(&server->mutex, NULL) == 0);
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        struct claimer *claimer = &server->claimers[i];
        sr_mailbox_init(&claimer->mailbox, 1, NULL, NULL); /* answers come past the bound */
        claimer->origin = sr_origins_add(origins, &claimer->mailbox);
    }
    return server;
}

void sr_join_server_set_consensus(struct sr_join_server *server, struct sr_consensus *consensus)
{
    atomic_store(&server->consensus, consensus);
}

void sr_join_server_free(struct sr_join_server *server)
{
    if (server == NULL) {
        return;
    }
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        enum sr_api_error ignored = SR_API_NONE;
        (void)take_answer(&server->claimers[i], &ignored);
        sr_mailbox_close(&server->claimers[i].mailbox);
    }
    pthread_mutex_destroy(&server->mutex);
    sr_free(server);
}
