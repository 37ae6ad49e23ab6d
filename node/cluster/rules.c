/* SPDX-License-Identifier: Apache-2.0
 *
 * Each rule compares the cluster with what it would be, as lists of members. What would make it
 * safe is found by trying: everybody healthy again, then one voter more, zone by zone.
 */
#include "node/cluster/rules.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/limits.h"

struct cluster {
    struct sr_zone_member members[SR_MEMBERS_MAX + 2];
    size_t count;
};

struct question {
    enum sr_rule_action action;
    struct sr_zone_member target;
    int zones_min;
    struct cluster before;
};

const char *sr_rule_name(enum sr_rule rule)
{
    static const char *const names[] = {"none", "quorum", "zones"};
    return names[rule];
}

const char *sr_rule_action_name(enum sr_rule_action action)
{
    static const char *const names[] = {"remove", "drain", "promote", "add"};
    return names[action];
}

static int survivable(const struct cluster *cluster)
{
    return sr_zones_survivable(cluster->members, cluster->count);
}

static void add_voter(struct cluster *cluster, const char *zone)
{
    sr_check(cluster->count < SR_MEMBERS_MAX + 2);
    cluster->members[cluster->count++] =
        (struct sr_zone_member){.name = "", .zone = zone, .voter = true, .healthy = true};
}

static void drop(struct cluster *cluster, uint64_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->members[i].id != id) {
            cluster->members[kept++] = cluster->members[i];
        }
    }
    cluster->count = kept;
}

static struct sr_zone_member *find(struct cluster *cluster, uint64_t id)
{
    for (size_t i = 0; i < cluster->count; i++) {
        if (cluster->members[i].id == id) {
            return &cluster->members[i];
        }
    }
    return NULL;
}

/* What @question makes of @cluster. */
static struct cluster after(const struct question *question, struct cluster cluster)
{
    struct sr_zone_member *target = find(&cluster, question->target.id);
    switch (question->action) {
    case SR_ACTION_REMOVE:
        drop(&cluster, question->target.id);
        break;
    case SR_ACTION_DRAIN:
        target->healthy = false;
        break;
    case SR_ACTION_PROMOTE:
        target->voter = true;
        break;
    case SR_ACTION_ADD:
        add_voter(&cluster, question->target.zone); /* by the time it votes it is healthy */
        break;
    }
    return cluster;
}

/* ---- The rules ---- */

static bool keeps_quorum(const struct question *question, const struct cluster *cluster)
{
    struct cluster next = after(question, *cluster);
    return survivable(&next) >= 0 || survivable(cluster) < 0;
}

static int demanded(const struct question *question, const struct cluster *cluster)
{
    int best = sr_zones_survivable_at_best(cluster->members, cluster->count);
    return best < question->zones_min ? best : question->zones_min;
}

/* One zone at a time: with all of the target's zone gone, what is left must still do. */
static bool drain_keeps_zones(const struct question *question, struct cluster cluster)
{
    int demand = demanded(question, &cluster);
    if (demand <= 0) {
        return true;
    }
    for (size_t i = 0; i < cluster.count; i++) {
        if (strcmp(cluster.members[i].zone, question->target.zone) == 0) {
            cluster.members[i].healthy = false;
        }
    }
    return survivable(&cluster) >= demand - 1;
}

static size_t count_voters(const struct cluster *cluster)
{
    size_t voters = 0;
    for (size_t i = 0; i < cluster->count; i++) {
        voters += cluster->members[i].voter;
    }
    return voters;
}

/* How many zones @cluster could lose at best with a voter more in @zone; and, if the voters are
 * then even in number, with yet another one in the best of its zones. */
static int promise(const struct cluster *cluster, const char *zone)
{
    struct cluster next = *cluster;
    add_voter(&next, zone);
    int best = sr_zones_survivable_at_best(next.members, next.count);
    for (size_t i = 0; i < next.count && count_voters(&next) % 2 == 0; i++) {
        struct cluster more = next;
        add_voter(&more, next.members[i].zone);
        int with = sr_zones_survivable_at_best(more.members, more.count);
        best = with > best ? with : best;
    }
    return best;
}

/* The zone where a voter more promises the most; the question's own if none does better. */
static const char *best_place(const struct question *question, struct cluster cluster)
{
    const char *best = question->target.zone;
    drop(&cluster, question->target.id);
    for (size_t i = 0; i < cluster.count; i++) {
        const char *zone = cluster.members[i].zone;
        if (promise(&cluster, zone) > promise(&cluster, best)) {
            best = zone;
        }
    }
    return best;
}

/* A voter more may be put where it helps less, as long as the minimum is still in sight. */
static bool growth_keeps_zones(const struct question *question, struct cluster cluster)
{
    const char *place = best_place(question, cluster);
    drop(&cluster, question->target.id);
    int promised = promise(&cluster, question->target.zone);
    return promised >= question->zones_min || promised >= promise(&cluster, place);
}

static bool is_growth(enum sr_rule_action action)
{
    return action == SR_ACTION_PROMOTE || action == SR_ACTION_ADD;
}

static bool keeps_zones(const struct question *question, const struct cluster *cluster)
{
    if (question->action == SR_ACTION_DRAIN) {
        return drain_keeps_zones(question, *cluster);
    }
    if (is_growth(question->action)) {
        return growth_keeps_zones(question, *cluster);
    }
    struct cluster next = after(question, *cluster);
    int then = survivable(&next);
    return then >= survivable(cluster) || then >= question->zones_min;
}

/* ---- The sentence ---- */

static const char *label(const struct sr_zone_member *member)
{
    return member->name[0] != 0 ? member->name : "the member";
}

/* The voters other than the target that are not healthy, as "n2 and n3"; false if there are none.
 */
static bool list_unhealthy(const struct question *question, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < question->before.count && used < size; i++) {
        const struct sr_zone_member *member = &question->before.members[i];
        if (member->voter && !member->healthy && member->id != question->target.id) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used == 0 ? "" : " and ",
                                     label(member));
        }
    }
    return out[0] != 0;
}

/* Whether the question, asked of @cluster, leaves no less than asked of the cluster as it is. */
static bool is_safe(const struct question *question, const struct cluster *cluster)
{
    struct cluster next = after(question, *cluster);
    int demand = survivable(&question->before);
    if (question->action == SR_ACTION_DRAIN) {
        return keeps_quorum(question, cluster) && drain_keeps_zones(question, *cluster);
    }
    demand = demand < question->zones_min ? demand : question->zones_min;
    return survivable(&next) >= demand;
}

static bool is_safe_with_all_healthy(const struct question *question)
{
    struct cluster cluster = question->before;
    for (size_t i = 0; i < cluster.count; i++) {
        if (cluster.members[i].id != question->target.id) {
            cluster.members[i].healthy = true;
        }
    }
    return keeps_quorum(question, &cluster) && keeps_zones(question, &cluster);
}

/* A zone in which one voter more makes it safe: the target's own first; NULL: there is none. "":
 * one that has nobody yet. */
static const char *zone_that_helps(const struct question *question)
{
    for (size_t i = 0; i <= question->before.count + 1; i++) {
        const char *zone = i == 0                        ? question->target.zone
                           : i <= question->before.count ? question->before.members[i - 1].zone
                                                         : "\1";
        struct cluster more = question->before;
        if (zone[0] == 0) {
            continue;
        }
        add_voter(&more, zone);
        if (is_safe(question, &more)) {
            return zone[0] == '\1' ? "" : zone;
        }
    }
    return NULL;
}

static void advise(const struct question *question, char *out, size_t size)
{
    char names[192];
    const char *zone = NULL;
    if (list_unhealthy(question, names, sizeof(names)) && is_safe_with_all_healthy(question)) {
        (void)snprintf(out, size, "bring %s back first", names);
    } else if (is_growth(question->action)) {
        (void)snprintf(out, size, "put it in zone %s", best_place(question, question->before));
    } else if ((zone = zone_that_helps(question)) == NULL) {
        (void)snprintf(out, size, "add voters in other zones first");
    } else if (zone[0] == 0) {
        (void)snprintf(out, size, "add a voter in a zone that has none first");
    } else {
        (void)snprintf(out, size, "add a voter in zone %s first", zone);
    }
}

static void describe(const struct question *question, enum sr_rule rule, char *out)
{
    static const char *const doing[] = {"removing", "draining", "promoting", "adding"};
    struct cluster next = after(question, question->before);
    char advice[256];
    size_t voters = count_voters(&next);
    size_t healthy = 0;
    for (size_t i = 0; i < next.count; i++) {
        healthy += next.members[i].voter && next.members[i].healthy;
    }
    advise(question, advice, sizeof(advice));
    if (rule == SR_RULE_QUORUM) {
        (void)snprintf(out, SR_RULE_TEXT_MAX,
                       "%s %s would leave %zu of %zu voters working, which is no majority: %s",
                       doing[question->action], label(&question->target), healthy, voters, advice);
    } else if (question->action == SR_ACTION_DRAIN) {
        (void)snprintf(out, SR_RULE_TEXT_MAX,
                       "draining %s would leave zone %s and another one short of voters at the "
                       "same time: %s",
                       label(&question->target), question->target.zone, advice);
    } else {
        int then = is_growth(question->action)
                       ? sr_zones_survivable_at_best(next.members, next.count)
                       : survivable(&next);
        (void)snprintf(out, SR_RULE_TEXT_MAX,
                       "%s %s would leave %zu voters so spread that the loss of %d zone%s is "
                       "fatal: %s",
                       doing[question->action], label(&question->target), voters, then + 1,
                       then == 0 ? "" : "s", advice);
    }
}

enum sr_rule sr_rules_judge(const struct sr_zone_member *members, size_t count,
                            enum sr_rule_action action, uint64_t target, const char *target_zone,
                            int zones_min, char ret_text[SR_RULE_TEXT_MAX])
{
    struct question question = {.action = action, .zones_min = zones_min < 1 ? 1 : zones_min};
    sr_check(count <= SR_MEMBERS_MAX);
    memcpy(question.before.members, members, count * sizeof(*members));
    question.before.count = count;
    const struct sr_zone_member *known = find(&question.before, target);
    if (known != NULL) {
        question.target = *known;
    } else {
        question.target = (struct sr_zone_member){.id = target, .name = "", .zone = target_zone};
    }
    sr_check((action == SR_ACTION_ADD) == (known == NULL));
    /* Who does not vote may go. */
    if ((action == SR_ACTION_REMOVE || action == SR_ACTION_DRAIN) && !known->voter) {
        return SR_RULE_NONE;
    }
    enum sr_rule rule = SR_RULE_NONE;
    if (!keeps_quorum(&question, &question.before)) {
        rule = SR_RULE_QUORUM;
    } else if (!keeps_zones(&question, &question.before)) {
        rule = SR_RULE_ZONES;
    }
    if (rule != SR_RULE_NONE) {
        describe(&question, rule, ret_text);
    }
    return rule;
}
