/* SPDX-License-Identifier: Apache-2.0
 *
 * A node that the admin port can look at, without the node: every function that node/admin calls
 * in other modules, answering from one struct.
 */
#ifndef SR_TESTS_UNIT_ADMIN_FAKES_H
#define SR_TESTS_UNIT_ADMIN_FAKES_H

#include "node/admin/admin.h"

struct fake_node {
    struct sr_consensus_info info;
    struct sr_consensus_metrics consensus;
    struct sr_raftlog_metrics log;
    struct sr_store_metrics store;
    struct sr_cluster_overview overview;
    struct sr_peer_metrics peers[3];
    struct sr_rpc_metrics rpc;
    struct sr_image_sender_metrics image_sender;
    struct sr_image_receiver_metrics image_receiver;
    struct sr_member_progress progress[3];
    size_t progress_count;
    bool has_record; /* of n1, n2 and n3 in zones a, b and c, with an alarm of n3 */
    int store_status;
    bool has_space;
    atomic_bool stopping;
};

extern struct fake_node fake;

/* A healthy follower in a cluster of three, which every test starts from. */
void fake_reset(void);
struct sr_admin_options fake_options(void);

#endif
