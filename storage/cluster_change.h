/* SPDX-License-Identifier: Apache-2.0
 *
 * What a change makes of the cluster record. A pure function of the record, the change and the
 * index, so that it is the same on every node.
 */
#ifndef SR_STORAGE_CLUSTER_CHANGE_H
#define SR_STORAGE_CLUSTER_CHANGE_H

#include <stdbool.h>

#include "base/buf.h"
#include "proto/api_error.h"
#include "proto/cluster.pb-c.h"

/* Apply @change, of the log entry @index, to @record. Appends the packed record that follows to
 * the empty @ret_packed; leaves it empty when nothing changes, and when the result is an error. */
enum sr_api_error sr_cluster_change(const Strongroom__ClusterRecord *record,
                                    const Strongroom__ClusterChange *change, uint64_t index,
                                    struct sr_buf *ret_packed);

/* Append the answer, packed without its header, as etcd has it: MemberAddResponse and the like,
 * AlarmResponse (what was raised or cleared, if anything was). @record is the one that follows. */
void sr_cluster_answer(const Strongroom__ClusterRecord *before,
                       const Strongroom__ClusterRecord *record,
                       const Strongroom__ClusterChange *change, struct sr_buf *body);

const Strongroom__MemberRecord *sr_cluster_member(const Strongroom__ClusterRecord *record,
                                                  uint64_t id); /* NULL: none */

/* Whether @record, which has been unpacked, is one that changes can have made: members and alarms
 * in order and well formed, none of them twice, a voter, all within their counts. */
bool sr_cluster_is_record(const Strongroom__ClusterRecord *record);

/* Whether there is such an alarm; and the order of alarms in a record. */
bool sr_cluster_is_alarm(uint32_t alarm);
bool sr_cluster_alarm_is_before(const Strongroom__AlarmRecord *a, const Strongroom__AlarmRecord *b);

#endif
