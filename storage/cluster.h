/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster record in the store: who belongs to the cluster, whose ids never come back, and the
 * alarms (proto/cluster.proto, decision 0009). Changed by commands of the log only, each at one
 * epoch; covered by the state hash; stored by the flush that stores the applied index.
 */
#ifndef SR_STORAGE_CLUSTER_H
#define SR_STORAGE_CLUSTER_H

#include <stdint.h>

#include "proto/cluster.pb-c.h"
#include "storage/store.h"

/* Any thread, one atomic: the epoch of the record as applied; 0: there is none yet. It grows with
 * every change of it. */
uint64_t sr_store_cluster_epoch(const struct sr_store *store);

/* Any thread: a copy of the record as applied, to be freed with
 * strongroom__cluster_record__free_unpacked(*ret, NULL). While there is none it has epoch 0 and
 * nothing else. SR_CORRUPT only by a defect of memory. */
int sr_store_cluster(struct sr_store *store, Strongroom__ClusterRecord **ret, struct sr_err *err);

/* Any thread, one atomic: the alarms of the record, as bits. */
enum {
    SR_ALARM_NO_SPACE = 1,
    SR_ALARM_CORRUPT = 2,
    SR_ALARM_CORRUPT_HERE = 4, /* it accuses this member: it must not serve */
    SR_ALARM_NO_PUTS = 8       /* NOSPACE leaves no majority of the voters (decision 0015) */
};
unsigned sr_store_alarms(const struct sr_store *store);

/* What a Check found: the state hash after all that comes before it in the log. */
struct sr_store_check {
    uint64_t index; /* of the log entry with the Check; 0: none since the start */
    int64_t revision;
    uint8_t hash[32];
};
/* Any thread: the last one. */
void sr_store_last_check(struct sr_store *store, struct sr_store_check *ret);

#endif
