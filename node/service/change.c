/* SPDX-License-Identifier: Apache-2.0
 *
 * A change of the members on its way: judged on what is known here, proposed at the epoch that it
 * was judged at, applied, and answered once libraft's configuration has followed, or when that
 * takes long: the record holds what is wanted, so the leader will get there without anybody
 * waiting. Met with another epoch, it is judged anew.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/service/internal.h"
#include "proto/level.h"

#define TRIES_MAX 5
/* How long an applied change waits to be a fact before it is answered. */
#define SETTLE_NS UINT64_C(2000000000)

enum sr_api_error service_change_allowed(const struct sr_service *service,
                                         const Strongroom__ClusterRecord *record)
{
    const struct sr_service_context *context = service->context;
    unsigned level = SR_FEATURE_LEVEL;
    if (record->epoch > 0) {
        return SR_API_NONE; /* all members knew what a record is when it came */
    }
    if (context->feature_level != NULL) {
        level = context->feature_level(context->arg);
    }
    return level < SR_FEATURE_LEVEL_CLUSTER ? SR_API_CLUSTER_LEVEL : SR_API_CLUSTER_UNKNOWN;
}

Strongroom__ClusterRecord *service_change_open(struct sr_service *service, struct sr_call *call)
{
    Strongroom__ClusterRecord *record = service_record(service);
    enum sr_api_error error = service_change_allowed(service, record);
    if (error != SR_API_NONE) {
        strongroom__cluster_record__free_unpacked(record, NULL);
        sr_call_fail_api(call, error);
        return NULL;
    }
    return record;
}

bool service_change_judge(struct sr_service *service, struct sr_call *call,
                          const Strongroom__ClusterRecord *record, enum sr_rule_action action,
                          uint64_t target, const char *target_zone, bool forced)
{
    struct sr_zone_member members[SR_MEMBERS_MAX];
    char sentence[SR_RULE_TEXT_MAX];
    char text[SR_RULE_TEXT_MAX + 32];
    if (service->context->progress == NULL) {
        return true;
    }
    if (!service_zone_members(service, record, members)) {
        if (!forced) {
            sr_call_fail_api(call, SR_API_UNHEALTHY);
        }
        return forced;
    }
    enum sr_rule rule = sr_rules_judge(members, record->n_members, action, target, target_zone,
                                       service->context->zones_min, sentence);
    if (rule == SR_RULE_NONE) {
        return true;
    }
    sr_log(SR_LOG_WARN, "audit", forced ? "rule overridden" : "change refused",
           "actor=\"%s\" action=%s member=%016" PRIx64 " rule=%s reason=\"%s\"", call->actor,
           sr_rule_action_name(action), target, sr_rule_name(rule), sentence);
    if (!forced) {
        (void)snprintf(text, sizeof(text), "strongroom: %s", sentence);
        sr_call_fail(call, SR_GRPC_FAILED_PRECONDITION, text);
    }
    return forced;
}

static const char *name_of(const Strongroom__ClusterChange *change)
{
    switch (change->change_case) {
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD:
        return "add";
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE:
        return "remove";
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE:
        return "update";
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE:
        return "promote";
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE:
        return "raise alarm";
    default:
        return "clear alarm";
    }
}

void service_change(struct sr_service *service, struct sr_call *call,
                    const Strongroom__ClusterRecord *record, Strongroom__ClusterChange *change,
                    const struct service_change *how)
{
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    change->expected_epoch = record->epoch;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command.cluster = change;
    struct service_pending *pending = service_propose(service, call, &command, SERVICE_CHANGE);
    if (pending == NULL) {
        return;
    }
    pending->change = *how;
    pending->change.tries = service->tries;
    sr_log(SR_LOG_INFO, "audit", "change of the cluster",
           "actor=\"%s\" action=\"%s\" member=%016" PRIx64 " forced=%d epoch=%" PRIu64, call->actor,
           name_of(change), how->member, change->forced, record->epoch);
}

/* ---- Answers ---- */

static void finish(struct sr_service *service, struct service_pending *pending,
                   const struct sr_answer *answer)
{
    struct service_change change = pending->change;
    struct sr_call *call = pending->call;
    pending->change.kept = NULL;
    service_pending_drop(service, pending);
    change.finish(service, call, change.member, answer);
    sr_answer_free(change.kept);
}

/* @answer is freed by the caller: what is needed of it moves over. */
static struct sr_answer *keep(struct sr_answer *answer)
{
    struct sr_answer *kept = sr_zalloc(sizeof(*kept));
    *kept = *answer;
    kept->mail.next = NULL;
    answer->body = (struct sr_buf){0};
    return kept;
}

static bool is_fact(const struct sr_service *service, const struct service_change *change)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    if (!service_progress(service, progress, &count)) {
        return true; /* nobody can tell */
    }
    const struct sr_member_progress *one = service_progress_find(progress, count, change->member);
    return (one == NULL ? SR_ROLE_NONE : one->role) == change->role;
}

void service_change_answered(struct sr_service *service, struct service_pending *pending,
                             struct sr_answer *answer)
{
    struct service_change *change = &pending->change;
    if (answer->error == SR_API_CLUSTER_CHANGED && change->tries < TRIES_MAX) {
        struct sr_call *call = pending->call;
        unsigned tries = change->tries + 1;
        service_pending_drop(service, pending);
        service_call_again(service, call, tries);
    } else if (answer->error != SR_API_NONE) {
        service_pending_fail(service, pending, answer->error);
    } else if (!change->settles || is_fact(service, change)) {
        finish(service, pending, answer);
    } else {
        change->kept = keep(answer);
        change->answer_by_ns = sr_clock_monotonic_ns() + SETTLE_NS;
        if (change->answer_by_ns > pending->expires_ns) {
            change->answer_by_ns = pending->expires_ns;
        }
        sr_list_append(&service->settling, &pending->turn);
    }
}

void service_changes_check(struct sr_service *service, uint64_t now_ns)
{
    struct sr_list *at = service->settling.next;
    while (at != &service->settling) {
        struct service_pending *pending = sr_container(at, struct service_pending, turn);
        at = at->next;
        if (now_ns >= pending->change.answer_by_ns || is_fact(service, &pending->change)) {
            finish(service, pending, pending->change.kept);
        }
    }
}

void service_change_forget(struct service_pending *pending)
{
    sr_answer_free(pending->change.kept);
    pending->change = (struct service_change){0};
}
