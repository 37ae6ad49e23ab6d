/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /status. Ids are text, in hexadecimal as in logs: JSON numbers lose their last digits in
 * many programs. What is not known is null.
 */
#include <inttypes.h>

#include "node/admin/json.h"
#include "node/admin/standing.h"
#include "node/admin/standing_page.h"

static void put_progress(struct sr_buf *page, const struct sr_admin_standing *standing,
                         const struct sr_member_progress *progress)
{
    sr_json_put(page, ",\"role\":\"%s\"", sr_admin_role_name(progress));
    if (progress == NULL) {
        sr_json_put(page,
                    ",\"up\":null,\"caught_up\":null,\"match_index\":null,\"lag_entries\":null,"
                    "\"image\":null");
        return;
    }
    sr_json_put(page,
                ",\"up\":%s,\"caught_up\":%s,\"match_index\":%" PRIu64 ",\"lag_entries\":%" PRIu64,
                sr_json_truth(progress->up), sr_json_truth(progress->caught_up),
                progress->match_index, sr_admin_lag(standing, progress));
    if (progress->image_total == 0) {
        sr_json_put(page, ",\"image\":null");
    } else {
        sr_json_put(page, ",\"image\":{\"bytes\":%" PRIu64 ",\"total_bytes\":%" PRIu64 "}",
                    progress->image_bytes, progress->image_total);
    }
}

static void put_members(struct sr_buf *page, const struct sr_admin_standing *standing)
{
    const Strongroom__ClusterRecord *record = standing->record;
    sr_json_put(page, ",\n \"members\":[");
    for (size_t i = 0; record != NULL && i < record->n_members; i++) {
        const Strongroom__MemberRecord *member = record->members[i];
        sr_json_put(page, "%s\n  {\"id\":\"%016" PRIx64 "\",", i == 0 ? "" : ",", member->id);
        sr_json_field(page, "name", member->name);
        sr_json_put(page, ",");
        sr_json_field(page, "zone", member->zone);
        sr_json_put(page, ",");
        sr_json_field(page, "peer_address", member->peer_address);
        sr_json_put(page, ",\"leader\":%s,\"wanted\":\"%s\",\"feature_level\":%u",
                    sr_json_truth(member->id == standing->info.leader),
                    member->voter ? "voter" : "learner", member->feature_level);
        put_progress(page, standing, sr_admin_progress(standing, member->id));
        sr_json_put(page, "}");
    }
    sr_json_put(page, "]");
}

static void put_alarms(struct sr_buf *page, const struct sr_admin_standing *standing)
{
    const Strongroom__ClusterRecord *record = standing->record;
    sr_json_put(page, ",\n \"alarms\":[");
    for (size_t i = 0; record != NULL && i < record->n_alarms; i++) {
        const Strongroom__AlarmRecord *alarm = record->alarms[i];
        sr_json_put(
            page, "%s{\"member\":\"%016" PRIx64 "\",\"alarm\":\"%s\",\"index\":%" PRIu64 "}",
            i == 0 ? "" : ",", alarm->member_id, sr_admin_alarm_name(alarm->alarm), alarm->index);
    }
    sr_json_put(page, "]");
}

/* An image that this node is fetching. */
static void put_fetching(struct sr_buf *page, const struct sr_admin_options *node)
{
    const struct sr_image_receiver_metrics *receiver = node->image_receiver;
    if (receiver == NULL || sr_gauge_read(&receiver->receiving) == 0) {
        sr_json_put(page, ",\n \"fetching_image\":null");
        return;
    }
    sr_json_put(page, ",\n \"fetching_image\":{\"bytes\":%" PRId64 ",\"total_bytes\":%" PRId64 "}",
                (int64_t)sr_gauge_read(&receiver->image_bytes),
                (int64_t)sr_gauge_read(&receiver->image_total));
}

static void put_node(struct sr_buf *page, const struct sr_admin_options *node,
                     const struct sr_admin_standing *standing)
{
    const struct sr_consensus_info *info = &standing->info;
    static const char *const roles[] = {
        [SR_ROLE_NONE] = "none", [SR_ROLE_LEARNER] = "learner", [SR_ROLE_VOTER] = "voter"};
    sr_json_put(page, "{");
    sr_json_field(page, "node", node->node_name);
    sr_json_put(page, ",");
    sr_json_field(page, "zone", node->zone);
    sr_json_put(page, ",");
    sr_json_field(page, "cluster", node->cluster_name);
    sr_json_put(page,
                ",\"id\":\"%016" PRIx64 "\",\"cluster_id\":\"%016" PRIx64 "\",\"version\":\"%s\"",
                node->member_id, node->cluster_id, STRONGROOM_VERSION);
    sr_json_put(page, ",\n \"role\":\"%s\",\"leads\":%s,\"leader\":", roles[info->role],
                sr_json_truth(info->is_leader));
    sr_json_put(page, info->leader == 0 ? "null" : "\"%016" PRIx64 "\"", info->leader);
    sr_json_put(page,
                ",\"term\":%" PRIu64 ",\"last_index\":%" PRIu64 ",\"commit_index\":%" PRIu64
                ",\"applied_index\":%" PRIu64 ",\"durable_index\":%" PRIu64 ",\"revision\":%" PRId64
                ",\"compact_revision\":%" PRId64,
                info->term, info->last_index, info->commit_index, info->applied_index,
                sr_store_durable_index(node->store), sr_store_revision(node->store),
                sr_store_compact_revision(node->store));
}

static void put_cluster(struct sr_buf *page, const struct sr_admin_standing *standing)
{
    const Strongroom__ClusterRecord *record = standing->record;
    sr_json_put(page, ",\n \"epoch\":%" PRIu64, record == NULL ? 0 : record->epoch);
    if (standing->progress_age_ms == UINT64_MAX) {
        sr_json_put(page, ",\"progress_age_ms\":null");
    } else {
        sr_json_put(page, ",\"progress_age_ms\":%" PRIu64, standing->progress_age_ms);
    }
    if (standing->has_zones) {
        sr_json_put(page, ",\"zones_survivable\":%d", standing->zones_survivable);
    } else {
        sr_json_put(page, ",\"zones_survivable\":null");
    }
}

void sr_status_page(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_admin_standing standing;
    sr_admin_standing_get(node, &standing);
    put_node(page, node, &standing);
    put_cluster(page, &standing);
    put_fetching(page, node);
    put_members(page, &standing);
    put_alarms(page, &standing);
    sr_offsite_page(node, page);
    sr_json_put(page, "}\n");
    sr_admin_standing_free(&standing);
}
