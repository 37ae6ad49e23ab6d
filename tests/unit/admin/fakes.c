/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/admin/fakes.h"

#include <string.h>

#include "storage/cluster.h"

struct fake_node fake;

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.info = (struct sr_consensus_info){
        .term = 7, .leader = 2, .last_index = 1003, .commit_index = 1002, .applied_index = 1001};
    fake.has_space = true;
    static const char *const names[] = {"n1", "n2", "n3"};
    for (uint64_t i = 0; i < 3; i++) {
        fake.peers[i].member = i + 1;
        fake.peers[i].name = names[i];
    }
}

static void overview(void *arg, struct sr_cluster_overview *ret)
{
    *ret = ((struct fake_node *)arg)->overview;
}

/* The opaque types are never looked into: any address will do. */
struct sr_admin_options fake_options(void)
{
    return (struct sr_admin_options){.listen = "127.0.0.1:0",
                                     .node_name = "n1",
                                     .zone = "a",
                                     .cluster_name = "test",
                                     .consensus = (void *)&fake,
                                     .store = (void *)&fake,
                                     .log = (void *)&fake,
                                     .rpc = (void *)&fake,
                                     .overview = overview,
                                     .arg = &fake,
                                     .stopping = &fake.stopping,
                                     .cluster_id = 0xc1,
                                     .member_id = 1,
                                     .image_sender = &fake.image_sender,
                                     .image_receiver = &fake.image_receiver};
}

void sr_consensus_info(const struct sr_consensus *consensus, struct sr_consensus_info *ret_info)
{
    (void)consensus;
    *ret_info = fake.info;
}

size_t sr_consensus_progress(const struct sr_consensus *consensus,
                             struct sr_member_progress out[SR_MEMBERS_MAX], uint64_t *ret_age_ms)
{
    (void)consensus;
    memcpy(out, fake.progress, sizeof(fake.progress));
    *ret_age_ms = fake.progress_count == 0 ? UINT64_MAX : 120;
    return fake.progress_count;
}

int sr_store_cluster(struct sr_store *store, Strongroom__ClusterRecord **ret, struct sr_err *err)
{
    static const char *const names[] = {"n1", "n2", "n\"3"};
    static const char *const zones[] = {"a", "b", "c"};
    (void)store;
    (void)err;
    Strongroom__MemberRecord members[3];
    Strongroom__MemberRecord *pointers[3];
    Strongroom__AlarmRecord alarm = STRONGROOM__ALARM_RECORD__INIT;
    Strongroom__AlarmRecord *alarms[1] = {&alarm};
    Strongroom__ClusterRecord record = STRONGROOM__CLUSTER_RECORD__INIT;
    for (size_t i = 0; i < 3; i++) {
        strongroom__member_record__init(&members[i]);
        members[i].id = i + 1;
        members[i].name = (char *)(uintptr_t)names[i];
        members[i].zone = (char *)(uintptr_t)zones[i];
        members[i].peer_address = (char *)(uintptr_t) "127.0.0.1:2380";
        members[i].voter = true;
        members[i].feature_level = 2;
        pointers[i] = &members[i];
    }
    alarm.member_id = 3;
    alarm.alarm = 2;
    alarm.index = 77;
    if (fake.has_record) {
        record.epoch = 5;
        record.n_members = 3;
        record.members = pointers;
        record.n_alarms = 1;
        record.alarms = alarms;
    }
    uint8_t packed[1024];
    size_t size = strongroom__cluster_record__pack(&record, packed); /* a few hundred bytes */
    *ret = strongroom__cluster_record__unpack(NULL, size, packed);
    return SR_OK;
}

const struct sr_consensus_metrics *sr_consensus_metrics(const struct sr_consensus *consensus)
{
    (void)consensus;
    return &fake.consensus;
}

const struct sr_peers *sr_consensus_peers(const struct sr_consensus *consensus)
{
    (void)consensus;
    return (const void *)&fake;
}

size_t sr_peers_metrics(const struct sr_peers *peers,
                        const struct sr_peer_metrics *ret[SR_MEMBERS_MAX])
{
    (void)peers;
    ret[0] = &fake.peers[1];
    ret[1] = &fake.peers[2];
    return 2;
}

void sr_peers_metrics_done(const struct sr_peers *peers)
{
    (void)peers;
}

const struct sr_raftlog_metrics *sr_raftlog_metrics(const struct sr_raftlog *log)
{
    (void)log;
    return &fake.log;
}

uint64_t sr_raftlog_disk_bytes(const struct sr_raftlog *log)
{
    (void)log;
    return 16 << 20;
}

const struct sr_store_metrics *sr_store_metrics(const struct sr_store *store)
{
    (void)store;
    return &fake.store;
}

int64_t sr_store_revision(const struct sr_store *store)
{
    (void)store;
    return 42;
}

int64_t sr_store_compact_revision(const struct sr_store *store)
{
    (void)store;
    return -1;
}

uint64_t sr_store_durable_index(const struct sr_store *store)
{
    (void)store;
    return 900;
}

bool sr_store_has_space(const struct sr_store *store)
{
    (void)store;
    return fake.has_space;
}

int sr_store_failure(const struct sr_store *store, struct sr_err *err)
{
    (void)store;
    return fake.store_status == SR_OK ? SR_OK
                                      : sr_err_set(err, fake.store_status, "page 7 is damaged");
}

const struct sr_rpc_metrics *sr_rpc_metrics(const struct sr_rpc *rpc)
{
    (void)rpc;
    return &fake.rpc;
}
