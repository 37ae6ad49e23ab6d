/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the other members are, and how they come and go. A member that goes is taken out of all
 * that looks for members at once; its memory follows when the last of its handles has called back.
 *
 *   (new) ──► member ──► leaving: no events, no metrics ──► freed
 *                 links close meanwhile, what was queued leaves first
 *
 * The list and what it says of members are changed on the loop only, and under the mutex, because
 * others read them.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "node/net/address.h"
#include "node/peer/peers_internal.h"

struct member *members_find(const struct sr_peers *peers, uint64_t id)
{
    for (struct member *at = peers->members; at != NULL; at = at->next) {
        if (at->id == id && !at->is_leaving) {
            return at;
        }
    }
    return NULL;
}

bool members_is_removed(const struct sr_peers *peers, uint64_t id)
{
    for (size_t i = 0; i < peers->removed_count; i++) {
        if (peers->removed[i] == id) {
            return true;
        }
    }
    return false;
}

bool sr_peers_locate(const struct sr_peers *peers, uint64_t member, char ret_name[SR_PEER_NAME_MAX],
                     char ret_address[SR_PEER_ADDRESS_MAX])
{
    pthread_mutex_lock(peers->metrics_mutex);
    const struct member *found = members_find(peers, member);
    if (found != NULL) {
        (void)snprintf(ret_name, SR_PEER_NAME_MAX, "%s", found->name);
        (void)snprintf(ret_address, SR_PEER_ADDRESS_MAX, "%s", found->address);
    }
    pthread_mutex_unlock(peers->metrics_mutex);
    return found != NULL;
}

void members_unreference(struct member *member)
{
    struct sr_peers *peers = member->outgoing.peers;
    sr_check(member->references > 0);
    if (--member->references > 0) {
        return;
    }
    sr_check(member->is_leaving || peers->is_closing);
    /* Links from it that are closing may outlive it. */
    for (struct incoming *link = peers->incoming; link != NULL; link = link->next) {
        if (link->member == member) {
            link->member = NULL;
        }
    }
    pthread_mutex_lock(peers->metrics_mutex);
    struct member **at = &peers->members;
    while (*at != member) {
        at = &(*at)->next;
    }
    *at = member->next;
    pthread_mutex_unlock(peers->metrics_mutex);
    sr_free(member->name);
    sr_free(member->address);
    sr_free(member);
    peers_unreference(peers);
}

/* A name to check certificates by, and an address to connect to. */
static bool can_be_linked(const struct sr_peer_member *member)
{
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    return member->name[0] != '\0' && member->name[0] != '.' &&
           strlen(member->name) < SR_HOST_TEXT_MAX &&
           sr_address_split(member->address, host, port, NULL) == SR_OK;
}

static void add(struct sr_peers *peers, const struct sr_peer_member *wanted)
{
    struct member *member = sr_zalloc(sizeof(*member));
    member->id = wanted->id;
    member->name = sr_strdup(wanted->name);
    member->address = sr_strdup(wanted->address);
    member->metrics.member = member->id;
    member->metrics.name = member->name;
    outgoing_init(&member->outgoing, peers, member);
    peers->references++;
    pthread_mutex_lock(peers->metrics_mutex);
    member->next = peers->members;
    peers->members = member;
    pthread_mutex_unlock(peers->metrics_mutex);
    outgoing_start(&member->outgoing);
}

static void let_go(struct sr_peers *peers, struct member *member)
{
    bool was_up = member->outgoing.state == OUTGOING_UP;
    uint64_t id = member->id;
    pthread_mutex_lock(peers->metrics_mutex);
    member->is_leaving = true;
    pthread_mutex_unlock(peers->metrics_mutex);
    for (struct incoming *at = peers->incoming; at != NULL; at = at->next) {
        if (at->member == member) {
            incoming_close(at, false);
            at->member = NULL;
        }
    }
    outgoing_close(&member->outgoing, false);
    if (was_up) {
        peers->events.on_link(peers->arg, id, false);
    }
}

static void move(struct member *member, const char *address)
{
    if (strcmp(member->address, address) == 0) {
        return;
    }
    pthread_mutex_lock(member->outgoing.peers->metrics_mutex);
    sr_free(member->address);
    member->address = sr_strdup(address);
    pthread_mutex_unlock(member->outgoing.peers->metrics_mutex);
    outgoing_move(&member->outgoing);
}

/* As who it is: with another name, its certificate must say another one too. */
static bool is_wanted(const struct member *member, const struct sr_peer_member *members,
                      size_t member_count)
{
    for (size_t i = 0; i < member_count; i++) {
        if (members[i].id == member->id) {
            return strcmp(members[i].name, member->name) == 0 && can_be_linked(&members[i]);
        }
    }
    return false;
}

static void keep_or_add(struct sr_peers *peers, const struct sr_peer_member *wanted)
{
    if (wanted->id == peers->self || !can_be_linked(wanted)) {
        return;
    }
    struct member *member = members_find(peers, wanted->id);
    if (member == NULL) {
        add(peers, wanted);
    } else {
        move(member, wanted->address);
    }
}

void sr_peers_set_members(struct sr_peers *peers, const struct sr_peer_member *members,
                          size_t member_count, struct sr_peer_removed removed)
{
    sr_check(member_count <= SR_MEMBERS_MAX);
    if (peers->is_closing) {
        return;
    }
    sr_free(peers->removed);
    peers->removed = sr_calloc(removed.count, sizeof(uint64_t));
    peers->removed_count = removed.count;
    if (removed.count > 0) {
        memcpy(peers->removed, removed.ids, removed.count * sizeof(uint64_t));
    }
    /* Who goes, goes first: at no time are there more than SR_MEMBERS_MAX for others to see. None
     * of these is freed before the loop's next turn. */
    for (struct member *at = peers->members; at != NULL; at = at->next) {
        if (!at->is_leaving && !is_wanted(at, members, member_count)) {
            sr_log(SR_LOG_INFO, "peer", "no member any more", "member=%s", at->name);
            let_go(peers, at);
        }
    }
    for (size_t i = 0; i < member_count; i++) {
        keep_or_add(peers, &members[i]);
    }
}
