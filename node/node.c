/* SPDX-License-Identifier: Apache-2.0
 *
 * Order is what this file is about. Up: directory and keys, store, log, client loops (bound but
 * not running), consensus with the storage threads, services, client port, admin port. Down: the
 * reverse, after the clients have been let go and leadership has been handed over.
 */
#include "node/node.h"

#include <errno.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/admin/admin.h"
#include "node/adopt.h"
#include "node/cluster/join_server.h"
#include "node/cluster/steward_loop.h"
#include "node/datadir.h"
#include "node/founders.h"
#include "node/images.h"
#include "node/leave.h"
#include "node/service/service.h"
#include "node/shipping.h"
#include "proto/level.h"
#include "storage/cluster.h"
#include "storage/offsite.h"

#define LOOPS_MAX 8

struct sr_node {
    const struct sr_config *config;
    struct sr_datadir dir;
    struct sr_store *store;
    struct sr_raftlog *log;
    struct sr_raftlog_state log_state;
    struct sr_rpc *rpc;
    unsigned loop_count;
    struct sr_origins origins;
    struct sr_consensus *consensus;
    struct sr_join_server *join_server;
    struct sr_proposer *proposer;
    struct sr_steward_loop *steward;
    struct sr_images *images;
    struct sr_shipping *shipping;
    struct sr_founders founders;
    struct sr_service_context service_context;
    struct sr_service *services[LOOPS_MAX];
    struct sr_admin *admin;
    bool rpc_running;

    sem_t wake;             /* posted for a stop and for a failure */
    atomic_bool stopping;   /* read by the admin port */
    atomic_bool restarting; /* the next start adopts an image */
    atomic_int failure;     /* 0, 1 while the error is being written, 2 when it is there */
    struct sr_err failed;
};

static struct sr_tls_files tls_files(const struct sr_config_tls *tls)
{
    return (struct sr_tls_files){
        .certificate = tls->certificate, .private_key = tls->private_key, .ca = tls->ca};
}

/* A part of the node has failed: the first one to say so ends it. Any thread. */
static void on_failure(void *arg, const struct sr_err *err)
{
    struct sr_node *node = arg;
    int none = 0;
    if (atomic_compare_exchange_strong(&node->failure, &none, 1)) {
        node->failed = *err;
        atomic_store(&node->failure, 2);
        sem_post(&node->wake);
    }
}

/* A connection that is for more than a few messages, on a thread of its own. */
static void on_bulk(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                    uint64_t member)
{
    struct sr_node *node = arg;
    if (purpose == STRONGROOM__HELLO__PURPOSE__JOIN) {
        sr_join_server_serve(node->join_server, bulk);
    } else {
        sr_images_serve(node->images, bulk, member);
    }
}

static void on_image_needed(void *arg, uint64_t member)
{
    struct sr_node *node = arg;
    sr_images_want(node->images, member);
}

static void on_image_complete(void *arg)
{
    struct sr_node *node = arg;
    atomic_store(&node->restarting, true);
    sem_post(&node->wake);
}

/* ---- Up ---- */

/* What the cluster has agreed on cannot be unlearned: this node would fail at the next change. */
static int check_feature_level(const struct sr_node *node, struct sr_err *err)
{
    unsigned level = node->config->cluster.feature_level;
    unsigned needed = 1;
    if (sr_store_offsite_epoch(node->store) > 0) {
        needed = SR_FEATURE_LEVEL_OFFSITE;
    } else if (sr_store_cluster_epoch(node->store) > 0) {
        needed = SR_FEATURE_LEVEL_CLUSTER;
    }
    if (level >= needed) {
        return SR_OK;
    }
    return sr_err_set(err, SR_REFUSED, "cluster.feature_level is %u, but the cluster acts at %u",
                      level, needed);
}

static int open_storage(struct sr_node *node, struct sr_err *err)
{
    const struct sr_config *config = node->config;
    struct sr_store_options store = {
        .dir = node->dir.state_path,
        .keyring = node->dir.keyring,
        .cluster_id = node->dir.cluster_id,
        .member_id = node->dir.member_id,
        .must_exist = node->dir.started,
        .map_bytes = config->storage.map_bytes,
        .memtable_entries_max = config->storage.memtable_entries,
        .unindexed_entries_max = config->storage.unindexed_entries,
        .memtable_bytes_max = config->storage.memtable_bytes,
        .disk_reserve_bytes = config->storage.disk_reserve_bytes,
        .feature_level = config->cluster.feature_level,
    };
    struct sr_raftlog_options log = {
        .dir = node->dir.log_path,
        .keyring = node->dir.keyring,
        .cluster_id = node->dir.cluster_id,
        .member_id = node->dir.member_id,
        .segment_bytes = config->storage.log_segment_bytes,
    };
    struct sr_adopt_options adoption = {.store = store, .log = log};
    int status = sr_adopt(&node->dir, &adoption, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_store_open(&store, &node->store, err);
    if (status == SR_OK) {
        status = check_feature_level(node, err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "open state");
        return status;
    }
    status = sr_raftlog_open(&log, &node->log, &node->log_state, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "open log");
        return status;
    }
    sr_log(SR_LOG_INFO, "node", "storage open",
           "revision=%" PRId64 " durable_index=%" PRIu64 " log_first=%" PRIu64 " log_last=%" PRIu64
           " dropped_tail_bytes=%" PRIu64,
           sr_store_revision(node->store), sr_store_durable_index(node->store),
           node->log_state.first_index, node->log_state.last_index, node->log_state.dropped_bytes);
    return SR_OK;
}

static int open_client_loops(struct sr_node *node, struct sr_err *err)
{
    struct sr_tls_files tls = tls_files(&node->config->client.tls);
    node->loop_count = sr_config_client_loops(node->config, LOOPS_MAX);
    struct sr_rpc_options options = {
        .listen = node->config->client.listen,
        .tls = &tls,
        .loop_count = node->loop_count,
        .connections_max = node->config->client.connections_max,
    };
    int status = sr_rpc_open(&options, &node->rpc, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "client port");
        return status;
    }
    return SR_OK;
}

static void start_images(struct sr_node *node)
{
    struct sr_images_options options = {
        .config = node->config,
        .dir = &node->dir,
        .store = node->store,
        .feature_level = node->config->cluster.feature_level,
        .on_complete = on_image_complete,
        .on_failure = on_failure,
        .arg = node,
    };
    node->images = sr_images_start(&options);
}

static int start_consensus(struct sr_node *node, struct sr_err *err)
{
    const struct sr_config *config = node->config;
    const struct sr_config_member *sorted[SR_MEMBERS_MAX];
    struct sr_consensus_member members[SR_MEMBERS_MAX];
    unsigned count = sr_founders_sort(config, sorted);
    for (unsigned i = 0; i < count; i++) {
        const struct sr_config_member *member = sorted[i];
        members[i] = (struct sr_consensus_member){.id = member->id,
                                                  .name = member->name,
                                                  .zone = member->zone,
                                                  .peer_address = member->peer_address};
    }
    struct sr_tls_files tls = tls_files(&config->peer.tls);
    struct sr_consensus_options options = {
        .cluster_id = node->dir.cluster_id,
        .self = node->dir.member_id,
        .members = members,
        .member_count = count,
        .peer_listen = config->peer.listen,
        .peer_tls = &tls,
        .election_timeout_ms = config->peer.election_timeout_ms,
        .tick_ms = config->peer.tick_ms,
        .log = node->log,
        .log_state = node->log_state,
        .store = node->store,
        .origins = &node->origins,
        .feature_level = config->cluster.feature_level,
        .incarnation = node->dir.incarnation,
        .log_keep_bytes = config->storage.log_keep_bytes,
        .log_keep_entries = config->storage.log_keep_entries,
        .joins = config->cluster.joined,
        .on_failure = on_failure,
        .on_bulk = on_bulk,
        .on_image_needed = on_image_needed,
        .arg = node,
    };
    int status = sr_consensus_start(&options, &node->consensus, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "consensus");
        return status;
    }
    sr_images_set_consensus(node->images, node->consensus);
    sr_join_server_set_consensus(node->join_server, node->consensus);
    return sr_datadir_mark_started(&node->dir, err);
}

static void ask_stop(void *arg)
{
    sr_node_ask_stop(arg);
}

static size_t progress(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms)
{
    const struct sr_node *node = arg;
    return sr_consensus_progress(node->consensus, out, ret_age_ms);
}

static unsigned feature_level(void *arg)
{
    const struct sr_node *node = arg;
    return sr_steward_feature_level(sr_steward_loop_steward(node->steward));
}

static void start_steward(struct sr_node *node)
{
    struct sr_steward_loop_options options = {
        .config = node->config,
        .self = node->dir.member_id,
        .store = node->store,
        .consensus = node->consensus,
        .proposer = node->proposer,
        .progress = progress,
        .arg = node,
    };
    sr_proposer_start(node->proposer, node->consensus);
    node->steward = sr_steward_loop_start(&options);
}

static void offsite(void *arg, struct sr_shipper_view *ret)
{
    const struct sr_node *node = arg;
    sr_shipping_view(node->shipping, ret);
}

static void ship_now(void *arg)
{
    const struct sr_node *node = arg;
    sr_shipping_ship_now(node->shipping);
}

static void start_services(struct sr_node *node, const uint64_t *loop_origins)
{
    sr_founders_describe(node->config, &node->founders);
    node->service_context = (struct sr_service_context){
        .cluster_id = node->dir.cluster_id,
        .member_id = node->dir.member_id,
        .members = node->founders.members,
        .member_count = node->config->cluster.members_count,
        .store = node->store,
        .consensus = node->consensus,
        .request_timeout_ms = node->config->client.request_timeout_ms,
        .zones_min = (int)node->config->cluster.zones_min,
        .progress = progress,
        .feature_level = feature_level,
        .offsite = offsite,
        .ship_now = ship_now,
        .ask_stop = ask_stop,
        .arg = node,
    };
    for (unsigned i = 0; i < node->loop_count; i++) {
        node->services[i] =
            sr_service_new(&node->service_context, loop_origins[i], sr_rpc_mailbox(node->rpc, i));
        struct sr_rpc_handler handler = sr_service_handler(node->services[i]);
        sr_rpc_set_handler(node->rpc, i, &handler);
    }
    sr_rpc_start(node->rpc);
    node->rpc_running = true;
}

static void overview(void *arg, struct sr_cluster_overview *ret)
{
    const struct sr_node *node = arg;
    struct sr_member_progress members[SR_MEMBERS_MAX];
    uint64_t age_ms = 0;
    size_t count = sr_consensus_progress(node->consensus, members, &age_ms);
    sr_cluster_overview(node->store, sr_steward_loop_steward(node->steward), members, count, age_ms,
                        ret);
}

static int start_admin(struct sr_node *node, struct sr_err *err)
{
    const struct sr_config *config = node->config;
    struct sr_tls_files tls;
    if (config->admin.tls != NULL) {
        tls = tls_files(config->admin.tls);
    }
    struct sr_admin_options options = {
        .listen = config->admin.listen,
        .tls = config->admin.tls == NULL ? NULL : &tls,
        .node_name = config->name,
        .zone = sr_config_self(config)->zone,
        .cluster_name = config->cluster.name,
        .consensus = node->consensus,
        .store = node->store,
        .log = node->log,
        .rpc = node->rpc,
        .overview = overview,
        .offsite = offsite,
        .arg = node,
        .stopping = &node->stopping,
        .cluster_id = node->dir.cluster_id,
        .member_id = node->dir.member_id,
        .image_sender = sr_images_sender_metrics(node->images),
        .image_receiver = sr_images_receiver_metrics(node->images),
    };
    int status = sr_admin_start(&options, &node->admin, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "admin port");
    }
    return status;
}

static int bring_up(struct sr_node *node, struct sr_err *err)
{
    int status = sr_datadir_open(node->config, &node->dir, err);
    if (status != SR_OK) {
        return status;
    }
    if ((status = open_storage(node, err)) != SR_OK ||
        (status = open_client_loops(node, err)) != SR_OK) {
        return status;
    }
    uint64_t loop_origins[LOOPS_MAX] = {0};
    for (unsigned i = 0; i < node->loop_count; i++) {
        loop_origins[i] = sr_origins_add(&node->origins, sr_rpc_mailbox(node->rpc, i));
    }
    node->join_server = sr_join_server_new(&node->origins, node->store, node->dir.cluster_id);
    node->proposer = sr_proposer_new(&node->origins);
    start_images(node);
    if ((status = sr_shipping_open(node->config, &node->dir, node->store, &node->origins,
                                   &node->shipping, err)) != SR_OK ||
        (status = start_consensus(node, err)) != SR_OK) {
        return status;
    }
    start_steward(node);
    sr_shipping_start(node->shipping, node->consensus);
    start_services(node, loop_origins);
    return start_admin(node, err);
}

int sr_node_start(const struct sr_config *config, struct sr_node **ret, struct sr_err *err)
{
    struct sr_node *node = sr_zalloc(sizeof(*node));
    node->config = config;
    node->dir.lock_fd = -1;
    sr_check(sem_init(&node->wake, 0, 0) == 0);
    int status = bring_up(node, err);
    if (status != SR_OK) {
        sr_node_stop(node);
        return status;
    }
    sr_log(SR_LOG_INFO, "node", "up",
           "version=%s cluster=%s member=%016" PRIx64 " zone=%s client=%s peer=%s admin=%s",
           STRONGROOM_VERSION, config->cluster.name, node->dir.member_id,
           sr_config_self(config)->zone, config->client.listen, config->peer.listen,
           config->admin.listen);
    *ret = node;
    return SR_OK;
}

/* ---- Running ---- */

/* So that nobody starts it again by mistake. */
static void remember_removal(struct sr_node *node)
{
    struct sr_err err = {0};
    if (node->failed.status == SR_REMOVED && sr_datadir_mark_removed(&node->dir, &err) != SR_OK) {
        sr_log(SR_LOG_ERROR, "node", "cannot mark the data directory, ignoring", "reason=\"%s\"",
               err.text);
    }
}

int sr_node_wait(struct sr_node *node, bool *ret_restart, struct sr_err *err)
{
    while (sem_wait(&node->wake) != 0) {
        sr_check(errno == EINTR);
    }
    if (atomic_load(&node->failure) == 2) {
        *err = node->failed;
        remember_removal(node);
        return err->status;
    }
    *ret_restart = atomic_load(&node->restarting);
    return SR_OK;
}

void sr_node_ask_stop(struct sr_node *node)
{
    sem_post(&node->wake);
}

/* ---- Down ---- */

static void leave(struct sr_node *node)
{
    int failure = atomic_load(&node->failure);
    if (failure == 2) {
        sr_leave_failed(node->rpc, &node->failed);
    } else if (failure == 0 && atomic_load(&node->restarting)) {
        sr_leave_for_restart(node->rpc);
    } else if (failure == 0) {
        sr_leave(node->config, node->dir.member_id, node->store, node->consensus, node->rpc);
    }
}

void sr_node_stop(struct sr_node *node)
{
    atomic_store(&node->stopping, true);
    if (node->rpc_running) {
        leave(node);
        sr_rpc_stop(node->rpc);
    }
    sr_admin_stop(node->admin);
    if (node->proposer != NULL) {
        sr_proposer_stop(node->proposer);
    }
    sr_steward_loop_stop(node->steward);
    sr_shipping_stop(node->shipping);
    sr_images_stop_fetching(node->images);
    if (node->consensus != NULL) {
        sr_consensus_stop(node->consensus);
    }
    sr_join_server_free(node->join_server);
    sr_proposer_free(node->proposer);
    sr_shipping_free(node->shipping);
    sr_images_free(node->images);
    sr_rpc_free(node->rpc); /* gives the last answers to the services */
    for (unsigned i = 0; i < node->loop_count; i++) {
        sr_service_free(node->services[i]);
    }
    sr_raftlog_close(node->log);
    sr_store_close(node->store);
    sr_datadir_close(&node->dir);
    sr_founders_close(&node->founders);
    sem_destroy(&node->wake);
    sr_free(node);
}
