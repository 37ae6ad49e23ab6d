/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/join_server.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/cluster/join_match.h"
#include "proto/command.pb-c.h"
#include "storage/cluster.h"

#define TRIES_MAX 5
#define SLICE_MS  100
/* Consensus gives an answer to everything sooner. */
#define PATIENCE_MS 30000

struct sr_join_server {
    struct sr_store *store;
    _Atomic(struct sr_consensus *) consensus;
    uint64_t cluster_id;
    uint64_t origin;
    uint64_t sequence;
    struct sr_mailbox mailbox;
    pthread_mutex_t mutex; /* one request at a time */
};

/* ---- Claiming ---- */

static struct sr_proposal *make_claim(struct sr_join_server *server, uint64_t epoch,
                                      const Strongroom__MemberRecord *own)
{
    Strongroom__MemberRecord claim = *own;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    change.expected_epoch = epoch;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_CLAIM;
    change.claim = &claim;
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = server->origin;
    command.sequence = ++server->sequence;
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
static bool take_answer(struct sr_join_server *server, enum sr_api_error *ret)
{
    bool found = false;
    struct sr_mail *list = sr_mailbox_take(&server->mailbox);
    while (list != NULL) {
        struct sr_answer *answer = sr_container(list, struct sr_answer, mail);
        list = list->next;
        if (answer->sequence == server->sequence) {
            *ret = answer->error;
            found = true;
        }
        sr_answer_free(answer);
    }
    return found;
}

static enum sr_api_error claim(struct sr_join_server *server, struct sr_bulk *bulk, uint64_t epoch,
                               const Strongroom__MemberRecord *own)
{
    enum sr_api_error error = SR_API_TIMED_OUT;
    struct sr_proposal *proposal = make_claim(server, epoch, own);
    if (!sr_consensus_propose(atomic_load(&server->consensus), proposal)) {
        sr_proposal_free(proposal);
        return SR_API_TOO_MANY_REQUESTS;
    }
    for (int waited = 0; waited < PATIENCE_MS && !sr_bulk_is_stopped(bulk); waited += SLICE_MS) {
        sr_mailbox_wait(&server->mailbox, SLICE_MS);
        if (take_answer(server, &error)) {
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

/* SR_API_NONE: it is @ret_member's. Otherwise it was answered, unless CLUSTER_CHANGED: again. */
static enum sr_api_error try_once(struct sr_join_server *server, struct sr_bulk *bulk,
                                  const Strongroom__JoinRequest *request, uint64_t *ret_member)
{
    struct sr_err err = {0};
    Strongroom__ClusterRecord *record = NULL;
    if (sr_store_cluster(server->store, &record, &err) != SR_OK) {
        refuse(bulk, request->name, true, err.text);
        return SR_API_STORE_FAILED;
    }
    enum sr_api_error error = SR_API_MEMBER_NOT_FOUND;
    bool has_name = sr_bulk_has_dns_name(bulk, request->name);
    size_t at = sr_join_match(record, request, has_name, &err);
    if (record->epoch == 0) {
        refuse(bulk, request->name, true, "the record of the members is not there yet");
    } else if (at == record->n_members) {
        refuse(bulk, request->name, false, err.text);
    } else {
        Strongroom__MemberRecord own = STRONGROOM__MEMBER_RECORD__INIT;
        own.id = record->members[at]->id;
        own.name = request->name;
        own.zone = request->zone;
        own.peer_address = record->members[at]->peer_address;
        own.client_urls = request->client_urls;
        own.n_client_urls = request->n_client_urls;
        own.feature_level = request->feature_level;
        *ret_member = own.id;
        error = claim(server, bulk, record->epoch, &own);
        if (error != SR_API_NONE && error != SR_API_CLUSTER_CHANGED) {
            bool is_final = error == SR_API_MEMBER_CLAIMED || error == SR_API_MEMBER_INVALID ||
                            error == SR_API_MEMBER_NAME_EXISTS || error == SR_API_MEMBER_NOT_FOUND;
            refuse(bulk, request->name, !is_final, sr_api_error_text(error));
        }
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    return error;
}

void sr_join_server_serve(struct sr_join_server *server, struct sr_bulk *bulk)
{
    struct sr_err err = {0};
    struct sr_frame frame;
    uint64_t member = 0;
    enum sr_api_error error = SR_API_CLUSTER_CHANGED;
    if (sr_bulk_receive(bulk, &frame, &err) != SR_OK ||
        frame.envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_JOIN_REQUEST) {
        sr_log(SR_LOG_WARN, "join", "no request", "address=%s reason=\"%s\"", sr_bulk_address(bulk),
               err.text);
        return;
    }
    if (atomic_load(&server->consensus) == NULL) {
        refuse(bulk, "?", true, "this member is starting");
        return;
    }
    const Strongroom__JoinRequest *request = frame.envelope->join_request;
    pthread_mutex_lock(&server->mutex);
    for (int i = 0; i < TRIES_MAX && error == SR_API_CLUSTER_CHANGED; i++) {
        error = try_once(server, bulk, request, &member);
    }
    pthread_mutex_unlock(&server->mutex);
    if (error == SR_API_NONE) {
        welcome(server, bulk, member);
    } else if (error == SR_API_CLUSTER_CHANGED) {
        refuse(bulk, request->name, true, "the members are changing");
    }
}

/* ---- All of it ---- */

struct sr_join_server *sr_join_server_new(struct sr_origins *origins, struct sr_store *store,
                                          uint64_t cluster_id)
{
    struct sr_join_server *server = sr_zalloc(sizeof(*server));
    server->store = store;
    server->cluster_id = cluster_id;
    sr_mailbox_init(&server->mailbox, SIZE_MAX, NULL, NULL);
    sr_check(pthread_mutex_init(&server->mutex, NULL) == 0);
    server->origin = sr_origins_add(origins, &server->mailbox);
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
    enum sr_api_error ignored;
    (void)take_answer(server, &ignored);
    sr_mailbox_close(&server->mailbox);
    pthread_mutex_destroy(&server->mutex);
    sr_free(server);
}
