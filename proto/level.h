/* SPDX-License-Identifier: Apache-2.0
 *
 * Feature levels. Each node publishes the highest that it knows; the cluster acts at the lowest of
 * its members, so that nobody is sent a command that it would have to refuse. A level is never
 * changed once it was released: a new command or field is of a new one.
 *
 *   1  put, delete, transaction, compaction
 *   2  the cluster record: members, alarms, replica check (proto/cluster.proto)
 *   3  the off-site record: shipments, the archive secret (proto/offsite.proto)
 */
#ifndef SR_PROTO_LEVEL_H
#define SR_PROTO_LEVEL_H

#define SR_FEATURE_LEVEL_CLUSTER 2
#define SR_FEATURE_LEVEL_OFFSITE 3

/* What this program knows. */
#define SR_FEATURE_LEVEL 3

#endif
