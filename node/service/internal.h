/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the services: what one client loop's service is made of. Everything here runs on that
 * loop alone.
 *
 *   on_call ──► unpack, check ──┬─ write ──► propose ─────► waiting ──answer──► reply
 *                               ├─ read ───► read index ──► waiting ──answer──► ready ┐
 *                               └─ serializable read ─────────────────────────► ready ┤
 *                                                                                     ▼
 *        one view a turn:  ready ──► finished: reply;  long: going ──slice by slice──► reply
 */
#ifndef SR_NODE_SERVICE_INTERNAL_H
#define SR_NODE_SERVICE_INTERNAL_H

#include "base/alloc.h"
#include "node/cluster/rules.h"
#include "node/service/list.h"
#include "node/service/service.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/rpc.pb-c.h"
#include "proto/strongroom.pb-c.h"
#include "storage/view.h"

/* What a waiting call becomes when its answer comes. */
enum service_kind {
    SERVICE_WRITE,   /* the answer has the response */
    SERVICE_RANGE,   /* then read */
    SERVICE_TXN,     /* then read; only ranges in it */
    SERVICE_MEMBERS, /* then list the members */
    SERVICE_CHANGE,  /* the answer has the response; it may wait until it is a fact */
    SERVICE_MOVE,    /* nobody answers: a tick finds that the wanted member leads */
};

/* Bytes of key and range end that a waiting Range holds without another allocation. */
#define SERVICE_KEYS_INLINE 96

/* What a change of the members waits for after it was applied, and how it is answered. */
struct service_change {
    /* Answers pending->call, which is not in its slot any more. @answer: the change's own. */
    void (*finish)(struct sr_service *service, struct sr_call *call, uint64_t member,
                   const struct sr_answer *answer);
    uint64_t member;        /* whom it is about */
    bool settles;           /* wait until @role is the member's */
    enum sr_role role;      /* in libraft's configuration */
    unsigned tries;         /* how often it met another epoch */
    uint64_t answer_by_ns;  /* then, whether it is a fact or not; 0: not applied yet */
    struct sr_answer *kept; /* its answer meanwhile */
};

/* A call that waits, in a slot of the table. Found by its sequence: slot number in the low bits,
 * and how often the slot was used above, so that an answer to a call that is gone finds nothing. */
struct service_pending {
    struct sr_list age;  /* in service.waiting, oldest first; or in service.unused */
    struct sr_list turn; /* in service.ready, going or stalled; or in none of them */
    uint64_t sequence;
    struct sr_call *call; /* NULL: unused */
    uint64_t expires_ns;
    uint64_t move_to;             /* SERVICE_MOVE: the member that is to lead */
    struct service_change change; /* SERVICE_CHANGE */
    enum service_kind kind;
    /* A Range's own copy of its request: it may be worked on over many turns. */
    Etcdserverpb__RangeRequest request;
    uint8_t *keys;
    uint8_t keys_inline[SERVICE_KEYS_INLINE];
    struct sr_range *range; /* once begun */
};

#define SERVICE_SLOTS_PER_BLOCK 256
#define SERVICE_BLOCKS_MAX      (SR_CALLS_WAITING_MAX / SERVICE_SLOTS_PER_BLOCK)

struct sr_service {
    const struct sr_service_context *context;
    uint64_t origin;
    struct sr_mailbox *mailbox;
    struct sr_mail go_on; /* to ourselves: there is something to read in a later turn */
    bool go_on_posted;
    bool failure_logged;
    unsigned tries;        /* of the call that is being made again */
    struct sr_arena arena; /* for the request that is being unpacked */
    struct sr_buf reply;   /* for the answer that is being built */
    uint8_t *token_secret; /* SR_TOKEN_SECRET_BYTES, of which tokens are made */
    /* The part of a response header that never changes: cluster id and member id, packed. */
    uint8_t identity[24];
    size_t identity_size;
    /* Waiting calls. */
    struct service_pending *blocks[SERVICE_BLOCKS_MAX];
    size_t block_count;
    struct sr_list unused;
    struct sr_list waiting; /* all that are used: in the order in which they expire */
    struct sr_list ready;   /* to be read now */
    struct sr_list going;   /* long ranges, part of them read; at most SR_LONG_RANGES_MAX */
    size_t going_count;
    struct sr_list stalled;  /* long ranges that wait for a place among those */
    struct sr_list moves;    /* SERVICE_MOVE, by `turn` */
    struct sr_list settling; /* SERVICE_CHANGE that were applied, by `turn` */
    bool is_learner;         /* this node, at the last tick */
};

/* For protobuf-c, which has no const but does not write when it packs. */
static inline void *service_unconst(const void *pointer)
{
    union {
        const void *in;
        void *out;
    } cast = {.in = pointer};
    return cast.out;
}

/* ---- pending.c ---- */

void service_pending_init(struct sr_service *service);
void service_pending_close(struct sr_service *service);
/* A slot for @call, which must not have one; NULL when SR_CALLS_WAITING_MAX wait already. */
struct service_pending *service_pending_add(struct sr_service *service, struct sr_call *call,
                                            enum service_kind kind);
/* NULL when that call is gone. */
struct service_pending *service_pending_find(struct sr_service *service, uint64_t sequence);
/* The call is answered or gone: forget everything about it. */
void service_pending_drop(struct sr_service *service, struct service_pending *pending);
/* Copy what a Range asks for into its slot. */
void service_pending_keep_range(struct service_pending *pending,
                                const Etcdserverpb__RangeRequest *request);
/* Forget what has been read of a range; its request stays. */
void service_pending_restart(struct sr_service *service, struct service_pending *pending);
/* Drop it and answer with @error. */
void service_pending_fail(struct sr_service *service, struct service_pending *pending,
                          enum sr_api_error error);
/* Fail all whose time is up at @now_ns. */
void service_pending_expire(struct sr_service *service, uint64_t now_ns);
/* Fail all. */
void service_pending_fail_all(struct sr_service *service, enum sr_api_error error);

/* ---- header.c: answers ---- */

void service_header_init(struct sr_service *service);
/* Append field 1 of every response, its header. */
void service_header_append(const struct sr_service *service, struct sr_buf *buf, int64_t revision,
                           uint64_t term);
/* Answer @call with a header and @body, a packed response without one. */
void service_reply_body(struct sr_service *service, struct sr_call *call, int64_t revision,
                        uint64_t term, struct sr_bytes body);
/* As above, with @response, whose header is not set. */
void service_reply(struct sr_service *service, struct sr_call *call, int64_t revision,
                   const ProtobufCMessage *response);
/* An empty buffer to build an answer in, and to hand to sr_call_reply. */
struct sr_buf *service_reply_buffer(struct sr_service *service);

/* ---- Methods: answer now, or keep the call in a slot. @message is in the arena, gone on
 * return. ---- */

/* write.c */
/* Propose @command, which has its operation, for @call. NULL: the call has been answered. */
struct service_pending *service_propose(struct sr_service *service, struct sr_call *call,
                                        Strongroom__Command *command, enum service_kind kind);
/* Whether this node's disk has room for puts: in its database and in its log. */
bool service_has_space(const struct sr_service_context *context);
/* And more than half of the voters' disks have, as their alarms say. */
bool service_takes_puts(const struct sr_service *service);
void service_put(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
void service_delete_range(struct sr_service *service, struct sr_call *call,
                          ProtobufCMessage *message);
void service_compact(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
/* A transaction that writes or has one inside, already validated. */
void service_propose_txn(struct sr_service *service, struct sr_call *call,
                         Etcdserverpb__TxnRequest *request);
void service_write_answered(struct sr_service *service, struct service_pending *pending,
                            struct sr_answer *answer);

/* read.c */
void service_range(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
void service_txn(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
/* Ask for a read index for @pending, or fail it. */
void service_read_ask(struct sr_service *service, struct service_pending *pending);
void service_read_answered(struct sr_service *service, struct service_pending *pending,
                           const struct sr_answer *answer);
/* One turn's worth of reading; asks for another turn when there is more. */
void service_read_turn(struct sr_service *service);
/* See that there will be another turn. */
void service_go_on(struct sr_service *service);

/* roster.c */
/* The cluster record, to be freed with strongroom__cluster_record__free_unpacked(*, NULL). While
 * there is none, its members are those of the configuration, and its epoch is 0. */
Strongroom__ClusterRecord *service_record(const struct sr_service *service);
const Strongroom__MemberRecord *service_record_find(const Strongroom__ClusterRecord *record,
                                                    uint64_t id);
/* How far the members are; false: nothing recent is known. */
bool service_progress(const struct sr_service *service, struct sr_member_progress *out,
                      size_t *ret_count);
/* NULL: not in it. */
const struct sr_member_progress *service_progress_find(const struct sr_member_progress *list,
                                                       size_t count, uint64_t id);
/* The members of @record for the rules of node/cluster; false: nothing recent is known. Texts are
 * those of @record. */
bool service_zone_members(const struct sr_service *service, const Strongroom__ClusterRecord *record,
                          struct sr_zone_member out[SR_MEMBERS_MAX]);
/* Find out whether this node only learns. */
void service_roster_tick(struct sr_service *service);

/* change.c: changes of the members, for etcd's API and for strongroom.v1 */
/* Whether members can be changed now: SR_API_NONE, or why not. */
enum sr_api_error service_change_allowed(const struct sr_service *service,
                                         const Strongroom__ClusterRecord *record);
/* The record, if members can be changed now, to be freed as service_record's. NULL: the call has
 * been answered. */
Strongroom__ClusterRecord *service_change_open(struct sr_service *service, struct sr_call *call);
/* Judge @action on @target by the rules of node/cluster, and log who overrides them with @forced.
 * False: refused, and the call has been answered. */
bool service_change_judge(struct sr_service *service, struct sr_call *call,
                          const Strongroom__ClusterRecord *record, enum sr_rule_action action,
                          uint64_t target, const char *target_zone, bool forced);
/* Propose @change, which has its content, at the epoch of @record; @how says how it is answered:
 * finish, member, and what it settles at. Met with another epoch, the whole call is made again. */
void service_change(struct sr_service *service, struct sr_call *call,
                    const Strongroom__ClusterRecord *record, Strongroom__ClusterChange *change,
                    const struct service_change *how);
void service_change_answered(struct sr_service *service, struct service_pending *pending,
                             struct sr_answer *answer);
/* Answer those that have become facts, or have waited long enough. */
void service_changes_check(struct sr_service *service, uint64_t now_ns);
void service_change_forget(struct service_pending *pending);

/* members.c: etcd's */
/* A new member's, never 0. */
uint64_t service_draw_id(void);
/* SR_API_NONE: @id is a learner, and as far as the leader. */
enum sr_api_error service_check_promotion(const struct sr_service *service,
                                          const Strongroom__ClusterRecord *record, uint64_t id);
void service_member_add(struct sr_service *service, struct sr_call *call,
                        ProtobufCMessage *message);
void service_member_remove(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message);
void service_member_update(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message);
void service_member_promote(struct sr_service *service, struct sr_call *call,
                            ProtobufCMessage *message);

/* cluster.c */
void service_member_list(struct sr_service *service, struct sr_call *call,
                         ProtobufCMessage *message);
void service_members_answered(struct sr_service *service, struct service_pending *pending);

/* maintenance.c */
void service_status(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
/* alarm.c */
/* Those of the record, and this member's NOSPACE, which follows the free space of its disk. */
#define SERVICE_ALARMS_MAX (SR_ALARMS_MAX + 1)
/* All of @type (NONE: of any), by member; returns how many. */
size_t service_alarms(const struct sr_service *service, Etcdserverpb__AlarmType type,
                      Etcdserverpb__AlarmMember out[SERVICE_ALARMS_MAX]);
void service_alarm(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);

/* member_status.c: strongroom.v1 */
void service_member_status(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message);

/* @from as strongroom.v1 tells it, without what only the leader knows; @to borrows its texts. */
void service_describe_member(const Strongroom__MemberRecord *from, Strongroom__V1__Member *to);

/* member_change.c: strongroom.v1 */
void service_v1_member_add(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message);
void service_v1_member_remove(struct sr_service *service, struct sr_call *call,
                              ProtobufCMessage *message);
void service_v1_member_update(struct sr_service *service, struct sr_call *call,
                              ProtobufCMessage *message);
void service_v1_member_promote(struct sr_service *service, struct sr_call *call,
                               ProtobufCMessage *message);

/* drain.c: strongroom.v1 */
void service_drain(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);

/* snapshot.c: strongroom.v1 */
void service_offsite_status(struct sr_service *service, struct sr_call *call,
                            ProtobufCMessage *message);
void service_snapshot_now(struct sr_service *service, struct sr_call *call,
                          ProtobufCMessage *message);
void service_snapshot_forget(struct sr_service *service, struct sr_call *call,
                             ProtobufCMessage *message);

/* move_leader.c */
void service_move_leader(struct sr_service *service, struct sr_call *call,
                         ProtobufCMessage *message);
/* Answer those whose member leads by now. */
void service_moves_check(struct sr_service *service);

/* health.c */
void service_health(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);

/* service.c */
/* Make @call again from its start, with @tries counted. */
void service_call_again(struct sr_service *service, struct sr_call *call, unsigned tries);
/* Whether the replica check has found this node's state to differ: it must not serve it. */
bool service_is_accused(const struct sr_service *service);
/* Whether the store has failed for good; logs why, once. */
bool service_store_failed(struct sr_service *service);

#endif
