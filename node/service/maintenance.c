/* SPDX-License-Identifier: Apache-2.0
 *
 * The Maintenance service's Status.
 */
#include <inttypes.h>
#include <stdio.h>

#include "node/service/internal.h"

/* Clients switch features on by this number, not by our own: what we speak is etcd 3.5's API. */
#define ETCD_VERSION "3.5.0"

/* etcd's texts: no leader, and each alarm. */
struct status_errors {
    char texts[SR_ALARMS_MAX + 2][64];
    char *pointers[SR_ALARMS_MAX + 2];
    size_t count;
};

static char *add_error(struct status_errors *errors)
{
    errors->pointers[errors->count] = errors->texts[errors->count];
    return errors->texts[errors->count++];
}

static void list_errors(const struct sr_service *service, struct status_errors *errors,
                        bool has_leader)
{
    Etcdserverpb__AlarmMember alarms[SERVICE_ALARMS_MAX];
    size_t count = service_alarms(service, ETCDSERVERPB__ALARM_TYPE__NONE, alarms);
    if (!has_leader) {
        snprintf(add_error(errors), sizeof(errors->texts[0]), "etcdserver: no leader");
    }
    for (size_t i = 0; i < count; i++) {
        snprintf(add_error(errors), sizeof(errors->texts[0]), "memberID:%" PRIu64 " alarm:%s ",
                 alarms[i].memberid,
                 alarms[i].alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT ? "CORRUPT" : "NOSPACE");
    }
}

void service_status(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    (void)message;
    const struct sr_service_context *context = service->context;
    const struct sr_store_metrics *metrics = sr_store_metrics(context->store);
    struct sr_consensus_info info;
    sr_consensus_info(context->consensus, &info);

    char version[] = ETCD_VERSION;
    struct status_errors errors = {0};
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    list_errors(service, &errors, info.leader != 0);
    response.errors = errors.pointers;
    response.n_errors = errors.count;
    response.islearner = service->is_learner;
    response.version = version;
    response.dbsize = sr_gauge_read(&metrics->database_bytes);
    response.dbsizeinuse = sr_gauge_read(&metrics->in_use_bytes);
    response.leader = info.leader;
    response.raftindex = info.commit_index;
    response.raftterm = info.term;
    response.raftappliedindex = info.applied_index;
    service_reply(service, call, sr_store_revision(context->store), &response.base);
}
