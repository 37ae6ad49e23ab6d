/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "node/admin/exposition.h"
#include "node/admin/standing.h"
#include "node/admin/standing_page.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define SENDER(kind, member, name, help)                                                           \
    SR_FAMILY(kind, struct sr_image_sender_metrics, member, name, help)
#define RECEIVER(kind, member, name, help)                                                         \
    SR_FAMILY(kind, struct sr_image_receiver_metrics, member, name, help)

static const struct sr_family sender_families[] = {
    SENDER(GAUGE, sending, "images_sending", "Images being sent to other members now."),
    SENDER(COUNTER, sent_bytes, "image_sent_bytes_total", "Bytes of images sent."),
    SENDER(COUNTER, images_sent, "images_sent_total", "Images sent whole."),
    SENDER(COUNTER, failures, "image_sends_failed_total", "Transfers that ended before that."),
};

static const struct sr_family receiver_families[] = {
    RECEIVER(GAUGE, receiving, "image_fetching", "Whether this node is fetching an image."),
    RECEIVER(GAUGE, image_bytes, "image_fetched_bytes", "Of it, the bytes that are here."),
    RECEIVER(GAUGE, image_total, "image_total_bytes", "About how many it has; 0: none."),
    RECEIVER(COUNTER, received_bytes, "image_received_bytes_total", "Bytes of images fetched."),
    RECEIVER(COUNTER, images_received, "images_received_total", "Images fetched and verified."),
    RECEIVER(COUNTER, failures, "image_fetches_failed_total", "Attempts that ended before that."),
};

enum column { UP, CAUGHT_UP, LAG, IMAGE_BYTES, IMAGE_TOTAL };

static long long value_of(const struct sr_admin_standing *standing,
                          const struct sr_member_progress *progress, enum column column)
{
    switch (column) {
    case UP:
        return progress->up;
    case CAUGHT_UP:
        return progress->caught_up;
    case LAG:
        return (long long)sr_admin_lag(standing, progress);
    case IMAGE_BYTES:
        return (long long)progress->image_bytes;
    default:
        return (long long)progress->image_total;
    }
}

static void put_column(const struct sr_admin_standing *standing, const char *name, const char *help,
                       enum column column, struct sr_buf *page)
{
    const Strongroom__ClusterRecord *record = standing->record;
    sr_exposition_header(page, name, help, SR_FAMILY_GAUGE);
    for (size_t i = 0; record != NULL && i < record->n_members; i++) {
        const Strongroom__MemberRecord *member = record->members[i];
        const struct sr_member_progress *progress = sr_admin_progress(standing, member->id);
        struct sr_buf labels = {0};
        char id[17];
        if (progress == NULL) {
            continue;
        }
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)member->id);
        sr_labels_add(&labels, "member", member->name);
        sr_labels_add(&labels, "id", id);
        sr_labels_add(&labels, "zone", member->zone);
        sr_exposition_integer(page, name, (const char *)labels.data,
                              value_of(standing, progress, column));
        sr_buf_close(&labels);
    }
}

static void put_alarms(const struct sr_admin_standing *standing, struct sr_buf *page)
{
    const Strongroom__ClusterRecord *record = standing->record;
    sr_exposition_header(page, "alarm", "1 for each alarm that is raised.", SR_FAMILY_GAUGE);
    for (size_t i = 0; record != NULL && i < record->n_alarms; i++) {
        struct sr_buf labels = {0};
        char id[17];
        (void)snprintf(id, sizeof(id), "%016llx", (unsigned long long)record->alarms[i]->member_id);
        sr_labels_add(&labels, "id", id);
        sr_labels_add(&labels, "alarm", sr_admin_alarm_name(record->alarms[i]->alarm));
        sr_exposition_integer(page, "alarm", (const char *)labels.data, 1);
        sr_buf_close(&labels);
    }
}

static void put_one(struct sr_buf *page, const struct sr_family *families, size_t count,
                    const void *object)
{
    struct sr_series series = {.object = object, .labels = ""};
    if (object != NULL) {
        sr_exposition_families(page, families, count, &series, 1);
    }
}

void sr_standing_metrics(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_admin_standing standing;
    sr_admin_standing_get(node, &standing);
    put_column(&standing, "member_up", "Whether the leader can talk to this member.", UP, page);
    put_column(&standing, "member_caught_up", "Whether it lacks next to nothing.", CAUGHT_UP, page);
    put_column(&standing, "member_lag_entries", "Entries that it lacks of the leader's log.", LAG,
               page);
    put_column(&standing, "member_image_bytes", "Bytes that it has of an image it is fetching.",
               IMAGE_BYTES, page);
    put_column(&standing, "member_image_total_bytes",
               "About how many that has; 0: it fetches none.", IMAGE_TOTAL, page);
    put_alarms(&standing, page);
    put_one(page, sender_families, COUNT(sender_families), node->image_sender);
    put_one(page, receiver_families, COUNT(receiver_families), node->image_receiver);
    sr_admin_standing_free(&standing);
}
