/* SPDX-License-Identifier: Apache-2.0
 *
 * How far each member is, as the leader sees it and tells everybody each second.
 */
#ifndef SR_NODE_CONSENSUS_PROGRESS_H
#define SR_NODE_CONSENSUS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* Of a member in libraft's configuration: the fact, not what the cluster record wants. */
enum sr_role { SR_ROLE_NONE, SR_ROLE_LEARNER, SR_ROLE_VOTER };

struct sr_member_progress {
    uint64_t id;
    enum sr_role role;
    bool up;              /* the leader can talk to it */
    bool caught_up;       /* it has what is committed, or nearly */
    uint64_t match_index; /* what it certainly has of the log */
    uint64_t image_bytes; /* of an image that it is fetching */
    uint64_t image_total; /* 0: it fetches none */
};

#endif
