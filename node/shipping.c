/* SPDX-License-Identifier: Apache-2.0 */
#include "node/shipping.h"

#include <stdatomic.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "node/offsite/drill.h"
#include "proto/level.h"
#include "storage/cluster.h"

#define CHANGE_TIMEOUT_MS 5000
/* While the node stops, the claim is given back if that can be done at once. */
#define LAST_CHANGE_TIMEOUT_MS 500

struct sr_shipping {
    const struct sr_config *config;
    struct sr_store *store;
    struct sr_proposer *proposer;
    struct sr_shipper *shipper;
    struct sr_drill *drill;
    struct sr_consensus *consensus;
    atomic_bool stopping;
};

/* ---- The shipper's world ---- */

static uint64_t wall_ms(void *arg)
{
    (void)arg;
    return sr_clock_wall_ms();
}

static uint64_t monotonic_ns(void *arg)
{
    (void)arg;
    return sr_clock_monotonic_ns();
}

static enum sr_ship_rank rank(void *arg)
{
    const struct sr_shipping *shipping = arg;
    struct sr_consensus_info info;
    sr_consensus_info(shipping->consensus, &info);
    if (info.role != SR_ROLE_VOTER || info.leader == 0) {
        return SR_RANK_NONE;
    }
    /* One that is alone has nobody to leave it to. */
    return info.is_leader && info.voters > 1 ? SR_RANK_LEADER : SR_RANK_FOLLOWER;
}

static bool is_member(void *arg, uint64_t member)
{
    const struct sr_shipping *shipping = arg;
    Strongroom__ClusterRecord *record = NULL;
    if (sr_store_cluster(shipping->store, &record, NULL) != SR_OK) {
        return true;
    }
    bool found = record->epoch == 0;
    for (size_t i = 0; i < record->n_members && !found; i++) {
        found = record->members[i]->id == member;
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    return found;
}

static enum sr_api_error change(void *arg, const Strongroom__OffsiteChange *wanted)
{
    const struct sr_shipping *shipping = arg;
    unsigned timeout_ms =
        atomic_load(&shipping->stopping) ? LAST_CHANGE_TIMEOUT_MS : CHANGE_TIMEOUT_MS;
    return sr_proposer_offsite(shipping->proposer, wanted, shipping->config->name, timeout_ms);
}

static void shipped(void *arg, const char *target, uint64_t sequence)
{
    const struct sr_shipping *shipping = arg;
    (void)target; /* the drill looks into the catalogue, which forgets nothing at a restart */
    (void)sequence;
    sr_drill_wake(shipping->drill);
}

/* ---- Up and down ---- */

static int open_both(struct sr_shipping *shipping, const struct sr_config *config,
                     const struct sr_datadir *dir, struct sr_err *err)
{
    struct sr_ship_env env = {.wall_ms = wall_ms,
                              .monotonic_ns = monotonic_ns,
                              .rank = rank,
                              .is_member = is_member,
                              .change = change,
                              .shipped = shipped,
                              .arg = shipping};
    struct sr_shipper_options shipper = {
        .config = config->offsite,
        .cluster_name = config->cluster.name,
        .member_name = config->name,
        .cluster_id = dir->cluster_id,
        .member_id = dir->member_id,
        .store = shipping->store,
        .env = env,
    };
    struct sr_drill_options drill = {
        .config = config->offsite,
        .member_name = config->name,
        .cluster_id = dir->cluster_id,
        .member_id = dir->member_id,
        .store = shipping->store,
        .data_dir = dir->path,
        .disk_reserve_bytes = config->storage.disk_reserve_bytes,
        .env = env,
    };
    int status = sr_shipper_open(&shipper, &shipping->shipper, err);
    return status == SR_OK ? sr_drill_open(&drill, &shipping->drill, err) : status;
}

int sr_shipping_open(const struct sr_config *config, const struct sr_datadir *dir,
                     struct sr_store *store, struct sr_origins *origins, struct sr_shipping **ret,
                     struct sr_err *err)
{
    *ret = NULL;
    if (config->offsite == NULL) {
        return SR_OK;
    }
    struct sr_shipping *shipping = sr_zalloc(sizeof(*shipping));
    shipping->config = config;
    shipping->store = store;
    int status = open_both(shipping, config, dir, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "offsite");
        sr_shipper_free(shipping->shipper);
        sr_free(shipping);
        return status;
    }
    shipping->proposer = sr_proposer_new(origins);
    *ret = shipping;
    return SR_OK;
}

void sr_shipping_start(struct sr_shipping *shipping, struct sr_consensus *consensus)
{
    if (shipping != NULL) {
        shipping->consensus = consensus;
        /* Nothing is proposed before there is a record, which says that all know of it. */
        sr_proposer_set_level(shipping->proposer, SR_FEATURE_LEVEL_OFFSITE);
        sr_proposer_start(shipping->proposer, consensus);
        sr_shipper_start(shipping->shipper);
        sr_drill_start(shipping->drill);
    }
}

void sr_shipping_stop(struct sr_shipping *shipping)
{
    if (shipping != NULL) {
        atomic_store(&shipping->stopping, true);
        sr_shipper_stop(shipping->shipper);
        sr_drill_stop(shipping->drill);
        sr_proposer_stop(shipping->proposer);
    }
}

void sr_shipping_free(struct sr_shipping *shipping)
{
    if (shipping != NULL) {
        sr_shipper_free(shipping->shipper);
        sr_drill_free(shipping->drill);
        sr_proposer_free(shipping->proposer);
        sr_free(shipping);
    }
}

unsigned sr_shipping_ship_now(struct sr_shipping *shipping)
{
    return shipping == NULL ? 0 : sr_shipper_ship_now(shipping->shipper);
}

void sr_shipping_view(const struct sr_shipping *shipping, struct sr_shipper_view *ret)
{
    sr_shipper_view(shipping == NULL ? NULL : shipping->shipper, ret);
    sr_drill_view(shipping == NULL ? NULL : shipping->drill, ret);
}
