/* SPDX-License-Identifier: Apache-2.0 */
#include "client/members.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/output.h"

const Members *members_fetch(struct sr_remote *remote, struct sr_err *err)
{
    Strongroom__V1__MemberStatusRequest request = STRONGROOM__V1__MEMBER_STATUS_REQUEST__INIT;
    return (const Members *)sr_remote_call(remote, "MemberStatus", REMOTE_READ, &request.base,
                                           &strongroom__v1__member_status_response__descriptor,
                                           NULL, err);
}

const Member *members_by_id(const Members *members, uint64_t id)
{
    for (size_t i = 0; i < members->n_members; i++) {
        if (members->members[i]->id == id) {
            return members->members[i];
        }
    }
    return NULL;
}

/* A name may look like an id; then it is the name that counts. */
const Member *members_find(const Members *members, const char *name_or_id)
{
    char *end = NULL;
    for (size_t i = 0; i < members->n_members; i++) {
        if (*name_or_id != 0 && strcmp(members->members[i]->name, name_or_id) == 0) {
            return members->members[i];
        }
    }
    errno = 0;
    uint64_t id = strtoull(name_or_id, &end, 16);
    return *end == 0 && errno == 0 && id != 0 ? members_by_id(members, id) : NULL;
}

const Member *members_need(const Members *members, const char *name_or_id, struct sr_err *err)
{
    const Member *member = members_find(members, name_or_id);
    if (member != NULL) {
        return member;
    }
    sr_err_set(err, SR_NOT_FOUND, "%s: no member has this name or id; there are", name_or_id);
    for (size_t i = 0; i < members->n_members; i++) {
        size_t used = strlen(err->text);
        snprintf(err->text + used, sizeof(err->text) - used, "%s %s (%" PRIx64 ")",
                 i == 0 ? "" : ",", member_name(members->members[i]), members->members[i]->id);
    }
    return NULL;
}

static bool is_of(const Member *member, const char *url)
{
    for (size_t i = 0; i < member->n_client_urls; i++) {
        if (strcmp(member->client_urls[i], url) == 0) {
            return true;
        }
    }
    return false;
}

void members_avoid(struct sr_remote *remote, const Members *members, const Member *member)
{
    char *urls[SR_ENDPOINTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < remote->endpoint_count; i++) {
        if (!is_of(member, remote->endpoints[i])) {
            urls[count++] = sr_strdup(remote->endpoints[i]);
        }
    }
    bool none = count == 0;
    for (size_t i = 0; none && i < members->n_members && count < SR_ENDPOINTS_MAX; i++) {
        if (members->members[i] != member && members->members[i]->n_client_urls > 0) {
            urls[count++] = sr_strdup(members->members[i]->client_urls[0]);
        }
    }
    if (count > 0) {
        sr_remote_redirect(remote, urls, count);
    }
    for (size_t i = 0; i < count; i++) {
        sr_free(urls[i]);
    }
}

const char *member_name(const Member *member)
{
    return *member->name != 0 ? member->name : "(not taken)";
}

const char *member_role(const Member *member)
{
    bool to_vote = member->wanted == STRONGROOM__V1__ROLE__VOTER;
    switch (member->role) {
    case STRONGROOM__V1__ROLE__VOTER:
        return "voter";
    case STRONGROOM__V1__ROLE__LEARNER:
        return to_vote ? "voter-to-be" : "learner";
    default:
        return to_vote ? "(voter)" : "(learner)";
    }
}

/* ---- For people ---- */

static void join_urls(const Member *member, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < member->n_client_urls && used < size; i++) {
        used += (size_t)snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ",",
                                 member->client_urls[i]);
    }
}

/* How far it is; "?" while no leader tells. */
static void set_progress(struct output_table *table, size_t column, const Members *members,
                         const Member *member)
{
    if (!members->has_progress) {
        output_table_set(table, column, "?");
    } else if (member->image_total_bytes > 0) {
        output_table_set(table, column, "image %u%%",
                         (unsigned)(100 * member->image_bytes / member->image_total_bytes));
    } else if (!member->up) {
        output_table_set(table, column, "down");
    } else if (member->caught_up) {
        output_table_set(table, column, "caught up");
    } else {
        output_table_set(table, column, "%" PRIu64 " behind", member->lag_entries);
    }
}

void members_print_table(const Members *members)
{
    static const char *const titles[] = {"NAME",  "ID",    "ZONE",         "ROLE",
                                         "STATE", "LEVEL", "PEER ADDRESS", "CLIENT URLS"};
    struct output_table table;
    char urls[OUTPUT_CELL_BYTES];
    output_table_open(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < members->n_members; i++) {
        const Member *member = members->members[i];
        output_table_row(&table);
        output_table_set(&table, 0, "%s", member_name(member));
        output_table_set(&table, 1, "%" PRIx64, member->id);
        output_table_set(&table, 2, "%s", member->zone);
        output_table_set(&table, 3, "%s",
                         member->id == members->leader ? "leader" : member_role(member));
        set_progress(&table, 4, members, member);
        output_table_set(&table, 5, "%u", member->feature_level);
        output_table_set(&table, 6, "%s", member->peer_address);
        join_urls(member, urls, sizeof(urls));
        output_table_set(&table, 7, "%s", urls);
    }
    output_table_close(&table);
}

static const char *alarm_name(Etcdserverpb__AlarmType alarm)
{
    switch (alarm) {
    case ETCDSERVERPB__ALARM_TYPE__NOSPACE:
        return "NOSPACE";
    case ETCDSERVERPB__ALARM_TYPE__CORRUPT:
        return "CORRUPT";
    default:
        return "unknown";
    }
}

void members_print_summary(const Members *members)
{
    const Member *leader = members_by_id(members, members->leader);
    if (leader == NULL) {
        puts("leader            none is known");
    } else {
        printf("leader            %s, zone %s\n", member_name(leader), leader->zone);
    }
    if (members->has_progress && members->zones_survivable < 0) {
        puts("zones survivable  none: there is no majority that is caught up");
    } else if (members->has_progress) {
        printf("zones survivable  %d\n", members->zones_survivable);
    } else {
        puts("zones survivable  not known: no leader has told how far the members are");
    }
    printf("feature level     %u\n", members->feature_level);
    for (size_t i = 0; i < members->n_alarms; i++) {
        const Strongroom__V1__Alarm *alarm = members->alarms[i];
        const Member *member = members_by_id(members, alarm->member_id);
        printf("alarm             %s: %s (%" PRIx64 "), index %" PRIu64 "\n",
               alarm_name(alarm->alarm), member == NULL ? "(removed)" : member_name(member),
               alarm->member_id, alarm->index);
    }
}

/* ---- For programs ---- */

static const char *role_name(Strongroom__V1__Role role)
{
    switch (role) {
    case STRONGROOM__V1__ROLE__VOTER:
        return "voter";
    case STRONGROOM__V1__ROLE__LEARNER:
        return "learner";
    default:
        return "none";
    }
}

static void print_member(struct output_json *json, const Member *member)
{
    output_json_begin(json, NULL, '{');
    output_json_id(json, "id", member->id);
    output_json_text(json, "name", member->name);
    output_json_text(json, "zone", member->zone);
    output_json_text(json, "peer_address", member->peer_address);
    output_json_begin(json, "client_urls", '[');
    for (size_t i = 0; i < member->n_client_urls; i++) {
        output_json_text(json, NULL, member->client_urls[i]);
    }
    output_json_end(json, ']');
    output_json_text(json, "role", role_name(member->role));
    output_json_text(json, "wanted", role_name(member->wanted));
    output_json_bool(json, "started", member->started);
    output_json_bool(json, "up", member->up);
    output_json_bool(json, "caught_up", member->caught_up);
    output_json_number(json, "match_index", member->match_index);
    output_json_number(json, "lag_entries", member->lag_entries);
    output_json_number(json, "feature_level", member->feature_level);
    output_json_number(json, "image_bytes", member->image_bytes);
    output_json_number(json, "image_total_bytes", member->image_total_bytes);
    output_json_end(json, '}');
}

void members_print_json(const Members *members)
{
    struct output_json json = {0};
    output_json_begin(&json, NULL, '{');
    output_json_id(&json, "cluster_id", members->header == NULL ? 0 : members->header->cluster_id);
    output_json_id(&json, "answered_by", members->header == NULL ? 0 : members->header->member_id);
    output_json_id(&json, "leader", members->leader);
    output_json_integer(&json, "zones_survivable", members->zones_survivable);
    output_json_bool(&json, "has_progress", members->has_progress);
    output_json_number(&json, "progress_age_ms", members->progress_age_ms);
    output_json_number(&json, "feature_level", members->feature_level);
    output_json_number(&json, "epoch", members->epoch);
    output_json_begin(&json, "members", '[');
    for (size_t i = 0; i < members->n_members; i++) {
        print_member(&json, members->members[i]);
    }
    output_json_end(&json, ']');
    output_json_begin(&json, "alarms", '[');
    for (size_t i = 0; i < members->n_alarms; i++) {
        output_json_begin(&json, NULL, '{');
        output_json_id(&json, "member_id", members->alarms[i]->member_id);
        output_json_text(&json, "alarm", alarm_name(members->alarms[i]->alarm));
        output_json_number(&json, "index", members->alarms[i]->index);
        output_json_end(&json, '}');
    }
    output_json_end(&json, ']');
    output_json_end(&json, '}');
    puts("");
}
