/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the members are, and how far they are: the cluster record, or the configuration while there
 * is none; and what the leader has told.
 */
#include "base/check.h"
#include "node/cluster/standing.h"
#include "node/service/internal.h"
#include "storage/cluster.h"

/* The leader tells each second. */
#define PROGRESS_AGE_MS_MAX 10000

/* ---- The record ---- */

static Strongroom__MemberRecord *founder(const struct sr_service_member *from)
{
    Strongroom__MemberRecord *record = sr_alloc(sizeof(*record));
    strongroom__member_record__init(record);
    record->id = from->id;
    record->name = sr_strdup(from->name);
    record->zone = sr_strdup(from->zone);
    record->peer_address = sr_strdup(from->peer_url + sizeof("https://") - 1);
    record->n_client_urls = from->client_url_count;
    record->client_urls = sr_calloc(from->client_url_count, sizeof(char *));
    for (size_t i = 0; i < from->client_url_count; i++) {
        record->client_urls[i] = sr_strdup(from->client_urls[i]);
    }
    record->voter = true;
    record->feature_level = 1;
    return record;
}

static void add_founders(const struct sr_service_context *context,
                         Strongroom__ClusterRecord *record)
{
    sr_check(record->n_members == 0);
    record->members = sr_calloc(context->member_count, sizeof(record->members[0]));
    record->n_members = context->member_count;
    for (size_t i = 0; i < context->member_count; i++) {
        record->members[i] = founder(&context->members[i]);
    }
}

Strongroom__ClusterRecord *service_record(const struct sr_service *service)
{
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err = {0};
    /* It was unpacked before when it was applied. */
    sr_check(sr_store_cluster(service->context->store, &record, &err) == SR_OK);
    if (record->epoch == 0) {
        add_founders(service->context, record);
    }
    return record;
}

const Strongroom__MemberRecord *service_record_find(const Strongroom__ClusterRecord *record,
                                                    uint64_t id)
{
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id == id) {
            return record->members[i];
        }
    }
    return NULL;
}

/* ---- Progress ---- */

bool service_progress(const struct sr_service *service, struct sr_member_progress *out,
                      size_t *ret_count)
{
    const struct sr_service_context *context = service->context;
    uint64_t age_ms = 0;
    if (context->progress == NULL) {
        return false;
    }
    *ret_count = context->progress(context->arg, out, &age_ms);
    return *ret_count > 0 && age_ms <= PROGRESS_AGE_MS_MAX;
}

const struct sr_member_progress *service_progress_find(const struct sr_member_progress *list,
                                                       size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i].id == id) {
            return &list[i];
        }
    }
    return NULL;
}

bool service_zone_members(const struct sr_service *service, const Strongroom__ClusterRecord *record,
                          struct sr_zone_member out[SR_MEMBERS_MAX])
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    if (!service_progress(service, progress, &count)) {
        return false;
    }
    sr_standing(record, progress, count, out);
    return true;
}

/* A node that nobody has told anything serves: it may be the only one that is left. */
void service_roster_tick(struct sr_service *service)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    if (service_progress(service, progress, &count)) {
        const struct sr_member_progress *self =
            service_progress_find(progress, count, service->context->member_id);
        service->is_learner = self != NULL && self->role == SR_ROLE_LEARNER;
    }
}
