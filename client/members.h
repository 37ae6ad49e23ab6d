/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of the cluster, fetched once by a command, and found by what people call them.
 */
#ifndef SR_CLIENT_MEMBERS_H
#define SR_CLIENT_MEMBERS_H

#include "client/remote.h"
#include "proto/strongroom.pb-c.h"

typedef Strongroom__V1__MemberStatusResponse Members;
typedef Strongroom__V1__Member Member;

/* NULL when no endpoint told; @err says why. Lives in the remote's arena. */
const Members *members_fetch(struct sr_remote *remote, struct sr_err *err);
/* By name, or by id in hexadecimal. NULL: there is none. */
const Member *members_find(const Members *members, const char *name_or_id);
/* As above, and @err says whom there is. */
const Member *members_need(const Members *members, const char *name_or_id, struct sr_err *err);
const Member *members_by_id(const Members *members, uint64_t id);
/* Ask somebody else than @member, who is about to go: the endpoints that are not its client URLs,
 * or the other members' client URLs. */
void members_avoid(struct sr_remote *remote, const Members *members, const Member *member);
/* "voter", "learner", "voter, not yet": what it is, and is to become. */
const char *member_role(const Member *member);
/* Its name, or what stands for it while it has none. */
const char *member_name(const Member *member);

/* Both of the whole, to standard output. */
void members_print_table(const Members *members);
void members_print_json(const Members *members);
/* Facts about the cluster, a line each. */
void members_print_summary(const Members *members);

#endif
