/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster/OffsiteStatus, SnapshotNow and SnapshotForget: what has been shipped,
 * shipping at once, and targets that are no more.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "node/service/internal.h"
#include "storage/offsite.h"

/* NULL: the call has been answered. */
static Strongroom__OffsiteRecord *record_of(struct sr_service *service, struct sr_call *call)
{
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    if (sr_store_offsite(service->context->store, &record, &err) != SR_OK) {
        sr_call_fail(call, SR_GRPC_DATA_LOSS, err.text);
        return NULL;
    }
    return record;
}

static void view_of(const struct sr_service *service, struct sr_shipper_view *view)
{
    const struct sr_service_context *context = service->context;
    *view = (struct sr_shipper_view){0};
    if (context->offsite != NULL) {
        context->offsite(context->arg, view);
    }
}

void service_offsite_status(struct sr_service *service, struct sr_call *call,
                            ProtobufCMessage *message)
{
    Strongroom__V1__OffsiteStatusResponse response = STRONGROOM__V1__OFFSITE_STATUS_RESPONSE__INIT;
    Strongroom__V1__OffsiteTarget targets[SR_OFFSITE_TARGETS_MAX];
    Strongroom__V1__OffsiteTarget *pointers[SR_OFFSITE_TARGETS_MAX];
    struct sr_shipper_view view;
    char fingerprint[SR_FINGERPRINT_CHARS + 1] = "";
    (void)message;
    response.record = record_of(service, call);
    if (response.record == NULL) {
        return;
    }
    if (response.record->public_key.len == SR_SIGNING_BYTES) {
        sr_fingerprint(response.record->public_key.data, fingerprint);
    }
    response.fingerprint = fingerprint;
    view_of(service, &view);
    for (unsigned i = 0; i < view.count; i++) {
        const struct sr_shipper_target *from = &view.targets[i];
        strongroom__v1__offsite_target__init(&targets[i]);
        targets[i].name = service_unconst(from->name);
        targets[i].url = service_unconst(from->url);
        targets[i].region = service_unconst(from->region);
        targets[i].lag_ms = sr_gauge_read(&from->changes->lag_ms);
        targets[i].lag_revisions = sr_gauge_read(&from->changes->lag_revisions);
        pointers[i] = &targets[i];
    }
    response.targets = pointers;
    response.n_targets = view.count;
    response.next_ms = view.next_ms;
    service_reply(service, call, 0, &response.base);
    strongroom__offsite_record__free_unpacked(response.record, NULL);
}

void service_snapshot_now(struct sr_service *service, struct sr_call *call,
                          ProtobufCMessage *message)
{
    const struct sr_service_context *context = service->context;
    Strongroom__V1__SnapshotNowResponse response = STRONGROOM__V1__SNAPSHOT_NOW_RESPONSE__INIT;
    char *names[SR_OFFSITE_TARGETS_MAX];
    struct sr_shipper_view view;
    (void)message;
    view_of(service, &view);
    if (view.count == 0) {
        sr_call_fail(call, SR_GRPC_FAILED_PRECONDITION,
                     "strongroom: this node ships nothing: its configuration has no offsite "
                     "section");
        return;
    }
    if (sr_store_offsite_epoch(context->store) == 0) {
        sr_call_fail_api(call, SR_API_OFFSITE_UNKNOWN);
        return;
    }
    response.record = record_of(service, call);
    if (response.record == NULL) {
        return;
    }
    for (unsigned i = 0; i < view.count; i++) {
        names[i] = service_unconst(view.targets[i].name);
    }
    response.targets = names;
    response.n_targets = view.count;
    sr_log(SR_LOG_INFO, "audit", "asked for a snapshot", "actor=\"%s\"", call->actor);
    int64_t revision = sr_store_revision(context->store);
    context->ship_now(context->arg);
    service_reply(service, call, revision, &response.base);
    strongroom__offsite_record__free_unpacked(response.record, NULL);
}

/* Who still has it would only begin to ship there anew. */
static bool is_in_use(const struct sr_service *service, struct sr_call *call, const char *target)
{
    char text[SR_OFFSITE_NAME_BYTES_MAX + 128];
    struct sr_shipper_view view;
    view_of(service, &view);
    for (unsigned i = 0; i < view.count; i++) {
        if (strcmp(view.targets[i].name, target) == 0) {
            snprintf(text, sizeof(text),
                     "strongroom: target: the configuration of this node has %s still: take it "
                     "out of all of them first",
                     view.targets[i].name);
            sr_call_fail(call, SR_GRPC_FAILED_PRECONDITION, text);
            return true;
        }
    }
    return false;
}

void service_snapshot_forget(struct sr_service *service, struct sr_call *call,
                             ProtobufCMessage *message)
{
    const Strongroom__V1__SnapshotForgetRequest *request =
        (const Strongroom__V1__SnapshotForgetRequest *)message;
    Strongroom__OffsiteForget forget = STRONGROOM__OFFSITE_FORGET__INIT;
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    Strongroom__OffsiteRecord *record = record_of(service, call);
    if (record == NULL) {
        return;
    }
    bool known = sr_offsite_chain(record, request->target, SR_ARCHIVE_FULL) != NULL ||
                 sr_offsite_chain(record, request->target, SR_ARCHIVE_CHANGES) != NULL;
    strongroom__offsite_record__free_unpacked(record, NULL);
    if (!known) {
        sr_call_fail(call, SR_GRPC_NOT_FOUND,
                     "strongroom: target: the catalogue has none of that name");
        return;
    }
    if (is_in_use(service, call, request->target)) {
        return;
    }
    forget.target = request->target;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_FORGET;
    change.forget = &forget;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_OFFSITE;
    command.offsite = &change;
    sr_log(SR_LOG_INFO, "audit", "asked to forget a target", "actor=\"%s\" target=%s", call->actor,
           request->target);
    (void)service_propose(service, call, &command, SERVICE_WRITE);
}
