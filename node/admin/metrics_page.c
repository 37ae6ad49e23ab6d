/* SPDX-License-Identifier: Apache-2.0
 *
 * The names are here and nowhere else. Modules keep structs of counters; each has a table.
 */
#include "node/admin/metrics_page.h"

#include <string.h>

#include "base/check.h"
#include "node/admin/exposition.h"
#include "node/admin/standing_page.h"
#include "proto/limits.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void put_one(struct sr_buf *page, const struct sr_family *families, size_t count,
                    const void *object)
{
    struct sr_series series = {.object = object, .labels = ""};
    sr_exposition_families(page, families, count, &series, 1);
}

/* ---- The node ---- */

static void put_node(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_buf labels = {0};
    sr_labels_add(&labels, "version", STRONGROOM_VERSION);
    sr_labels_add(&labels, "cluster", node->cluster_name);
    sr_labels_add(&labels, "member", node->node_name);
    sr_labels_add(&labels, "zone", node->zone);
    sr_exposition_header(page, "node_info", "Always 1; the labels say which node this is.",
                         SR_FAMILY_GAUGE);
    sr_exposition_integer(page, "node_info", (const char *)labels.data, 1);
    sr_buf_close(&labels);
}

/* ---- Consensus ---- */

#define CONSENSUS(kind, member, name, help)                                                        \
    SR_FAMILY(kind, struct sr_consensus_metrics, member, name, help)

static const struct sr_family consensus_families[] = {
    CONSENSUS(COUNTER, leader_changes, "leader_changes_total", "Changes of leader seen."),
    CONSENSUS(GAUGE, proposals_waiting, "proposals_pending", "Commands waiting to be committed."),
    CONSENSUS(COUNTER, proposals_committed, "proposals_committed_total", "Commands committed."),
    CONSENSUS(COUNTER, proposals_failed, "proposals_failed_total",
              "Commands refused, or lost with their leader."),
    CONSENSUS(COUNTER, read_rounds, "read_rounds_total",
              "Rounds that asked a majority whether we still lead, each for many reads."),
    CONSENSUS(COUNTER, read_rounds_failed, "read_rounds_failed_total", "Such rounds that failed."),
    CONSENSUS(COUNTER, followers_beyond_log, "followers_beyond_log_total",
              "Followers found to need more log than there is: they need an image."),
    CONSENSUS(COUNTER, image_holds_given_up, "image_holds_given_up_total",
              "Log no longer held for such a follower: it starts over."),
    CONSENSUS(COUNTER, membership_changes, "membership_changes_total",
              "Changes of the Raft configuration that this node made as leader."),
    CONSENSUS(COUNTER, refused_messages, "peer_refused_messages_total",
              "Messages of peers that broke a rule of the protocol."),
    CONSENSUS(HISTOGRAM, commit_duration, "commit_duration_seconds",
              "From proposing an entry to applying it, on the leader."),
};

static void put_consensus(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_consensus_info info;
    sr_consensus_info(node->consensus, &info);
    const struct {
        const char *name;
        const char *help;
        uint64_t value;
    } gauges[] = {
        {"has_leader", "Whether this node knows a leader.", info.leader != 0},
        {"is_leader", "Whether this node leads.", info.is_leader},
        {"term", "Current Raft term.", info.term},
        {"last_index", "Last index in the log.", info.last_index},
        {"commit_index", "Last index known to be committed.", info.commit_index},
        {"applied_index", "Last index applied to the state.", info.applied_index},
    };
    for (size_t i = 0; i < COUNT(gauges); i++) {
        sr_exposition_single(page, gauges[i].name, gauges[i].help, SR_FAMILY_GAUGE,
                             (long long)gauges[i].value);
    }
    put_one(page, consensus_families, COUNT(consensus_families),
            sr_consensus_metrics(node->consensus));
}

/* ---- The log ---- */

#define LOG(kind, member, name, help) SR_FAMILY(kind, struct sr_raftlog_metrics, member, name, help)

static const struct sr_family log_families[] = {
    LOG(COUNTER, bytes_written, "log_written_bytes_total", "Bytes written to the log."),
    LOG(COUNTER, syncs, "log_syncs_total", "Syncs of the log, each for a group of entries."),
    LOG(HISTOGRAM, sync_duration, "log_fsync_duration_seconds",
        "Writing and syncing a group of entries."),
};

static void put_log(const struct sr_admin_options *node, struct sr_buf *page)
{
    put_one(page, log_families, COUNT(log_families), sr_raftlog_metrics(node->log));
    sr_exposition_single(page, "log_disk_bytes", "Disk that the log takes.", SR_FAMILY_GAUGE,
                         (long long)sr_raftlog_disk_bytes(node->log));
}

/* ---- The store ---- */

#define STORE(kind, member, name, help) SR_FAMILY(kind, struct sr_store_metrics, member, name, help)

static const struct sr_family store_families[] = {
    STORE(COUNTER, puts, "puts_total", "Keys put."),
    STORE(COUNTER, deletes, "deletes_total", "Keys deleted."),
    STORE(COUNTER, txns, "txns_total", "Transactions applied."),
    STORE(HISTOGRAM, apply_duration, "apply_duration_seconds", "Applying one log entry."),
    STORE(HISTOGRAM, flush_duration, "db_flush_duration_seconds",
          "One transaction of the flush thread, with its commit."),
    STORE(HISTOGRAM, commit_duration, "db_commit_duration_seconds",
          "Committing one database transaction, with its sync."),
    STORE(COUNTER, flushed_entries, "db_flushed_entries_total", "Versions written to disk."),
    STORE(GAUGE, database_bytes, "db_size_bytes", "Size of the database file."),
    STORE(GAUGE, in_use_bytes, "db_in_use_bytes", "The same, less what is free inside."),
    STORE(GAUGE, keys, "db_keys", "Index entries in the database, all versions of all keys."),
    STORE(GAUGE, memtable_entries, "memtable_entries", "Versions in memory, not yet flushed."),
    STORE(GAUGE, memtable_bytes, "memtable_bytes", "Memory that they take."),
    STORE(GAUGE, unindexed_entries, "db_unindexed_entries",
          "Versions in the database that its index does not have yet."),
    STORE(GAUGE, open_views, "open_read_views", "Read views open now."),
};

static void put_store(const struct sr_admin_options *node, struct sr_buf *page)
{
    const struct sr_store *store = node->store;
    sr_exposition_single(page, "revision", "Revision of the state.", SR_FAMILY_GAUGE,
                         sr_store_revision(store));
    sr_exposition_single(page, "compact_revision", "Revision compacted to; -1: never.",
                         SR_FAMILY_GAUGE, sr_store_compact_revision(store));
    sr_exposition_single(page, "durable_index", "Last index that the database has on disk.",
                         SR_FAMILY_GAUGE, (long long)sr_store_durable_index(store));
    sr_exposition_single(page, "has_space", "Whether the disk has room for puts.", SR_FAMILY_GAUGE,
                         sr_store_has_space(store));
    sr_exposition_single(page, "store_failed", "Whether the store has failed and serves no more.",
                         SR_FAMILY_GAUGE, sr_store_failure(store, NULL) != SR_OK);
    put_one(page, store_families, COUNT(store_families), sr_store_metrics(store));
}

/* ---- The cluster ---- */

static void put_overview(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_cluster_overview overview;
    node->overview(node->arg, &overview);
    sr_exposition_single(page, "cluster_epoch", "Changes of the cluster record; 0: none yet.",
                         SR_FAMILY_GAUGE, (long long)overview.epoch);
    sr_exposition_single(page, "cluster_feature_level",
                         "Lowest feature level of the members; 0: not all were seen.",
                         SR_FAMILY_GAUGE, overview.feature_level);
    sr_exposition_single(page, "cluster_members", "Members in the cluster record.", SR_FAMILY_GAUGE,
                         (long long)overview.members);
    sr_exposition_single(page, "cluster_voters", "Voters, as the leader last told.",
                         SR_FAMILY_GAUGE, (long long)overview.voters);
    sr_exposition_single(page, "cluster_healthy_voters", "Of them, up and caught up.",
                         SR_FAMILY_GAUGE, (long long)overview.healthy_voters);
    sr_exposition_single(page, "cluster_zones_survivable",
                         "Zones that may be lost, whichever; -1: no majority, or not known.",
                         SR_FAMILY_GAUGE, overview.zones_survivable);
    sr_exposition_header(page, "cluster_alarms", "Alarms in the cluster record.", SR_FAMILY_GAUGE);
    sr_exposition_integer(page, "cluster_alarms", "alarm=\"NOSPACE\"",
                          (long long)overview.alarms_no_space);
    sr_exposition_integer(page, "cluster_alarms", "alarm=\"CORRUPT\"",
                          (long long)overview.alarms_corrupt);
    sr_exposition_single(page, "replica_accused",
                         "Whether this node was found to differ and does not serve.",
                         SR_FAMILY_GAUGE, overview.accused);
    sr_exposition_single(page, "replica_checks_total",
                         "Replica checks that this node led and found all equal.",
                         SR_FAMILY_COUNTER, (long long)overview.steward.checks);
    sr_exposition_single(page, "replica_differences_total",
                         "Members found to differ, by checks that this node led.",
                         SR_FAMILY_COUNTER, (long long)overview.steward.odd);
    sr_exposition_single(page, "replica_unclear_total", "Checks with a difference and no majority.",
                         SR_FAMILY_COUNTER, (long long)overview.steward.unclear);
    sr_exposition_single(page, "leader_hand_overs_total",
                         "Leadership handed to a preferred zone by this node.", SR_FAMILY_COUNTER,
                         (long long)overview.steward.hand_overs);
}

/* ---- Peers ---- */

#define PEER(kind, member, name, help) SR_FAMILY(kind, struct sr_peer_metrics, member, name, help)

static const struct sr_family peer_families[] = {
    PEER(GAUGE, up, "peer_up", "Whether we can send to this member."),
    PEER(GAUGE, feature_level, "peer_feature_level",
         "Feature level that this member spoke of last; 0: not yet heard."),
    PEER(COUNTER, sent_bytes, "peer_sent_bytes_total", "Bytes sent to this member."),
    PEER(COUNTER, received_bytes, "peer_received_bytes_total", "Bytes received from this member."),
    PEER(COUNTER, dropped_messages, "peer_dropped_messages_total",
         "Messages dropped: link down or its queue full. Raft sends again."),
    PEER(COUNTER, refused_links, "peer_refused_links_total",
         "Links refused, by either side, for what the certificate or the hello said."),
    PEER(HISTOGRAM, round_trip, "peer_round_trip_seconds", "Round trip to this member."),
};

static void put_peers(const struct sr_admin_options *node, struct sr_buf *page)
{
    const struct sr_peers *links = sr_consensus_peers(node->consensus);
    const struct sr_peer_metrics *peers[SR_MEMBERS_MAX];
    size_t count = sr_peers_metrics(links, peers);
    struct sr_series series[SR_MEMBERS_MAX];
    struct sr_buf labels[SR_MEMBERS_MAX] = {{0}};
    for (size_t i = 0; i < count; i++) {
        sr_labels_add(&labels[i], "peer", peers[i]->name);
        series[i] = (struct sr_series){peers[i], (const char *)labels[i].data};
    }
    sr_exposition_families(page, peer_families, COUNT(peer_families), series, count);
    sr_peers_metrics_done(links);
    for (size_t i = 0; i < count; i++) {
        sr_buf_close(&labels[i]);
    }
}

/* ---- Clients ---- */

#define RPC(kind, member, name, help) SR_FAMILY(kind, struct sr_rpc_metrics, member, name, help)

static const struct sr_family rpc_families[] = {
    RPC(GAUGE, connections, "client_connections", "Connections open now."),
    RPC(GAUGE, open_calls, "client_open_calls", "Calls being worked on now."),
    RPC(COUNTER, accepted, "client_connections_accepted_total", "Connections accepted."),
    RPC(COUNTER, refused, "client_connections_refused_total",
        "Connections refused over client.connections_max."),
    RPC(COUNTER, failed_handshakes, "client_handshakes_failed_total",
        "Connections that ended before TLS and HTTP/2 were up."),
    RPC(COUNTER, received_bytes, "client_received_bytes_total", "Bytes received from clients."),
    RPC(COUNTER, sent_bytes, "client_sent_bytes_total", "Bytes sent to clients."),
};

/* As gRPC's own metrics spell them. */
static const char *const code_names[SR_RPC_CODES] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

#define CALLS "grpc_calls_total"

/* Codes that never came are left out, but for OK. */
static void put_codes(const struct sr_rpc_method_metrics *method, const char *path,
                      struct sr_buf *page)
{
    for (size_t code = 0; code < SR_RPC_CODES; code++) {
        uint64_t count = sr_counter_read(&method->by_code[code]);
        if (count == 0 && code != SR_GRPC_OK) {
            continue;
        }
        struct sr_buf labels = {0};
        sr_labels_add(&labels, "method", path);
        sr_labels_add(&labels, "code", code_names[code]);
        sr_exposition_integer(page, CALLS, (const char *)labels.data, (long long)count);
        sr_buf_close(&labels);
    }
}

static const struct sr_family method_families[] = {
    SR_FAMILY(HISTOGRAM, struct sr_rpc_method_metrics, duration, "grpc_call_duration_seconds",
              "From the whole request to the answer."),
};

static void put_methods(const struct sr_rpc_metrics *metrics, struct sr_buf *page)
{
    struct sr_series series[SR_RPC_METHODS_MAX];
    struct sr_buf labels[SR_RPC_METHODS_MAX] = {{0}};
    size_t used = 0;
    sr_exposition_header(page, CALLS, "Calls answered, by method and code.", SR_FAMILY_COUNTER);
    for (size_t i = 0; i < SR_RPC_METHODS_MAX; i++) {
        const struct sr_rpc_method_metrics *method = &metrics->methods[i];
        const char *path = atomic_load_explicit(&method->path, memory_order_acquire);
        if (path == NULL) {
            continue;
        }
        put_codes(method, path, page);
        sr_labels_add(&labels[used], "method", path);
        series[used] = (struct sr_series){method, (const char *)labels[used].data};
        used++;
    }
    sr_exposition_families(page, method_families, COUNT(method_families), series, used);
    for (size_t i = 0; i < used; i++) {
        sr_buf_close(&labels[i]);
    }
}

static void put_clients(const struct sr_admin_options *node, struct sr_buf *page)
{
    const struct sr_rpc_metrics *metrics = sr_rpc_metrics(node->rpc);
    put_one(page, rpc_families, COUNT(rpc_families), metrics);
    put_methods(metrics, page);
}

void sr_metrics_page(const struct sr_admin_options *node, struct sr_buf *page)
{
    put_node(node, page);
    put_consensus(node, page);
    put_log(node, page);
    put_store(node, page);
    put_overview(node, page);
    put_peers(node, page);
    sr_standing_metrics(node, page);
    sr_offsite_metrics(node, page);
    put_clients(node, page);
    sr_process_metrics(page);
}
