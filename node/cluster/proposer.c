/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/proposer.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "proto/command.pb-c.h"
#include "proto/level.h"

struct sr_proposer {
    pthread_mutex_t turn; /* of the one who proposes; guards sequence */
    struct sr_mailbox mailbox;
    uint64_t origin;
    uint64_t sequence;
    _Atomic(struct sr_consensus *) consensus; /* NULL: not started, or stopped */
    atomic_uint level;                        /* that the cluster acts at */
};

struct sr_proposer *sr_proposer_new(struct sr_origins *origins)
{
    struct sr_proposer *proposer = sr_zalloc(sizeof(*proposer));
    pthread_mutex_init(&proposer->turn, NULL);
    sr_mailbox_init(&proposer->mailbox, 1, NULL, NULL); /* answers come past the bound */
    proposer->origin = sr_origins_add(origins, &proposer->mailbox);
    return proposer;
}

static void free_mail(struct sr_mail *list)
{
    while (list != NULL) {
        struct sr_answer *answer = sr_container(list, struct sr_answer, mail);
        list = list->next;
        sr_answer_free(answer);
    }
}

void sr_proposer_free(struct sr_proposer *proposer)
{
    if (proposer == NULL) {
        return;
    }
    free_mail(sr_mailbox_take(&proposer->mailbox));
    sr_mailbox_close(&proposer->mailbox);
    pthread_mutex_destroy(&proposer->turn);
    sr_free(proposer);
}

void sr_proposer_start(struct sr_proposer *proposer, struct sr_consensus *consensus)
{
    atomic_store(&proposer->consensus, consensus);
}

void sr_proposer_stop(struct sr_proposer *proposer)
{
    atomic_store(&proposer->consensus, NULL);
    sr_mailbox_kick(&proposer->mailbox);
    pthread_mutex_lock(&proposer->turn); /* nobody is inside of consensus any more */
    pthread_mutex_unlock(&proposer->turn);
}

/* protobuf-c has no const, but does not write when it packs. */
static void *lend(const void *memory)
{
    union {
        const void *in;
        void *out;
    } cast = {.in = memory};
    return cast.out;
}

static struct sr_proposal *make(const struct sr_proposer *proposer, Strongroom__Command *command,
                                const char *actor)
{
    command->origin = proposer->origin;
    command->sequence = proposer->sequence;
    command->actor = lend(actor);
    command->wall_ms = sr_clock_wall_ms();
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    size_t size = strongroom__command__get_packed_size(command);
    proposal->origin = command->origin;
    proposal->sequence = command->sequence;
    sr_check(strongroom__command__pack(command, sr_buf_extend(&proposal->command, size)) == size);
    return proposal;
}

/* The outcome, if it is in the mail by now; those of earlier changes are dropped. */
static bool take_answer(struct sr_proposer *proposer, enum sr_api_error *ret_error)
{
    struct sr_mail *list = sr_mailbox_take(&proposer->mailbox);
    bool found = false;
    for (struct sr_mail *mail = list; mail != NULL; mail = mail->next) {
        const struct sr_answer *answer = sr_container(mail, struct sr_answer, mail);
        if (answer->sequence == proposer->sequence) {
            *ret_error = answer->error;
            found = true;
        }
    }
    free_mail(list);
    return found;
}

static enum sr_api_error await(struct sr_proposer *proposer, unsigned timeout_ms)
{
    uint64_t deadline_ms = sr_clock_monotonic_ns() / 1000000 + timeout_ms;
    enum sr_api_error error = SR_API_TIMED_OUT;
    while (!take_answer(proposer, &error)) {
        uint64_t now_ms = sr_clock_monotonic_ns() / 1000000;
        if (atomic_load(&proposer->consensus) == NULL) {
            return SR_API_STOPPED;
        }
        if (now_ms >= deadline_ms) {
            return SR_API_TIMED_OUT;
        }
        sr_mailbox_wait(&proposer->mailbox, (int64_t)(deadline_ms - now_ms));
    }
    return error;
}

/* @command has its operation and nothing else. */
static enum sr_api_error propose(struct sr_proposer *proposer, Strongroom__Command *command,
                                 const char *actor, unsigned timeout_ms)
{
    enum sr_api_error error = SR_API_STOPPED;
    pthread_mutex_lock(&proposer->turn);
    struct sr_consensus *consensus = atomic_load(&proposer->consensus);
    if (consensus != NULL) {
        proposer->sequence++;
        struct sr_proposal *proposal = make(proposer, command, actor);
        if (sr_consensus_propose(consensus, proposal)) {
            error = await(proposer, timeout_ms);
        } else {
            sr_proposal_free(proposal);
            error = SR_API_TOO_MANY_REQUESTS;
        }
    }
    pthread_mutex_unlock(&proposer->turn);
    return error;
}

enum sr_api_error sr_proposer_change(struct sr_proposer *proposer,
                                     const Strongroom__ClusterChange *change, const char *actor,
                                     unsigned timeout_ms)
{
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command.cluster = lend(change);
    return propose(proposer, &command, actor, timeout_ms);
}

enum sr_api_error sr_proposer_offsite(struct sr_proposer *proposer,
                                      const Strongroom__OffsiteChange *change, const char *actor,
                                      unsigned timeout_ms)
{
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    if (atomic_load(&proposer->level) < SR_FEATURE_LEVEL_OFFSITE) {
        return SR_API_OFFSITE_LEVEL;
    }
    command.operation_case = STRONGROOM__COMMAND__OPERATION_OFFSITE;
    command.offsite = lend(change);
    return propose(proposer, &command, actor, timeout_ms);
}

void sr_proposer_set_level(struct sr_proposer *proposer, unsigned level)
{
    atomic_store(&proposer->level, level);
}
