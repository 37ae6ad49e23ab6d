/* SPDX-License-Identifier: Apache-2.0
 *
 * The next record is a draft of pointers into the one before and into the change, with the one
 * member that differs in a struct of its own; it lives until it is packed.
 */
#include "storage/cluster_change.h"

#include <string.h>

#include "base/check.h"
#include "proto/limits.h"
#include "proto/member.h"
#include "proto/rpc.pb-c.h"

struct draft {
    Strongroom__ClusterRecord record;
    Strongroom__MemberRecord *members[SR_MEMBERS_MAX];
    Strongroom__AlarmRecord *alarms[SR_ALARMS_MAX];
    uint64_t removed[SR_REMOVED_MAX];
    Strongroom__MemberRecord member; /* what becomes of the one that the change is about */
    Strongroom__AlarmRecord alarm;
    uint64_t index;
    bool changed;
};

/* Arrays of protobuf-c are NULL when they are empty. */
static void copy_list(void *to, const void *from, size_t size)
{
    memmove(to, size > 0 ? from : to, size);
}

static void draft_init(struct draft *draft, const Strongroom__ClusterRecord *record, uint64_t index)
{
    sr_check(record->n_members <= SR_MEMBERS_MAX && record->n_removed <= SR_REMOVED_MAX &&
             record->n_alarms <= SR_ALARMS_MAX);
    draft->record = *record;
    draft->record.members = draft->members;
    draft->record.alarms = draft->alarms;
    draft->record.removed = draft->removed;
    copy_list(draft->members, record->members, record->n_members * sizeof(draft->members[0]));
    copy_list(draft->alarms, record->alarms, record->n_alarms * sizeof(draft->alarms[0]));
    copy_list(draft->removed, record->removed, record->n_removed * sizeof(draft->removed[0]));
    strongroom__member_record__init(&draft->member);
    strongroom__alarm_record__init(&draft->alarm);
    draft->index = index;
    draft->changed = false;
}

/* ---- Looking ---- */

static size_t find_member(const Strongroom__ClusterRecord *record, uint64_t id)
{
    size_t at = 0;
    while (at < record->n_members && record->members[at]->id != id) {
        at++;
    }
    return at;
}

const Strongroom__MemberRecord *sr_cluster_member(const Strongroom__ClusterRecord *record,
                                                  uint64_t id)
{
    size_t at = find_member(record, id);
    return at < record->n_members ? record->members[at] : NULL;
}

static bool is_removed(const Strongroom__ClusterRecord *record, uint64_t id)
{
    for (size_t i = 0; i < record->n_removed; i++) {
        if (record->removed[i] == id) {
            return true;
        }
    }
    return false;
}

/* Whether a member other than @id has the name or the address; "" is nobody's. */
static bool has_name(const Strongroom__ClusterRecord *record, uint64_t id, const char *name)
{
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id != id && name[0] != 0 &&
            strcmp(record->members[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_address(const Strongroom__ClusterRecord *record, uint64_t id, const char *address)
{
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id != id &&
            strcmp(record->members[i]->peer_address, address) == 0) {
            return true;
        }
    }
    return false;
}

static size_t count_voters(const Strongroom__ClusterRecord *record)
{
    size_t count = 0;
    for (size_t i = 0; i < record->n_members; i++) {
        count += record->members[i]->voter;
    }
    return count;
}

/* ---- Members ---- */

/* Copy the member @id to draft->member, which takes its place. */
static bool edit_member(struct draft *draft, uint64_t id)
{
    size_t at = find_member(&draft->record, id);
    if (at == draft->record.n_members) {
        return false;
    }
    draft->member = *draft->members[at];
    draft->members[at] = &draft->member;
    return true;
}

static void insert_member(struct draft *draft, const Strongroom__MemberRecord *member)
{
    size_t at = draft->record.n_members++;
    draft->member = *member;
    while (at > 0 && draft->members[at - 1]->id > member->id) {
        draft->members[at] = draft->members[at - 1];
        at--;
    }
    draft->members[at] = &draft->member;
    draft->changed = true;
}

/* Whether @init can be the first record: members by id, no two alike, one of them a voter. */
static bool is_first_record(const Strongroom__ClusterRecord *init)
{
    if (init->n_members > SR_MEMBERS_MAX || init->n_removed > 0 || init->n_alarms > 0 ||
        count_voters(init) == 0) {
        return false;
    }
    for (size_t i = 0; i < init->n_members; i++) {
        const Strongroom__MemberRecord *member = init->members[i];
        if (!sr_is_member(member, false) || has_name(init, member->id, member->name) ||
            has_address(init, member->id, member->peer_address) ||
            (i > 0 && init->members[i - 1]->id >= member->id)) {
            return false;
        }
    }
    return true;
}

static enum sr_api_error change_init(struct draft *draft, const Strongroom__ClusterRecord *init)
{
    if (draft->record.epoch > 0) {
        return SR_API_CLUSTER_CHANGED;
    }
    if (!is_first_record(init)) {
        return SR_API_MEMBER_INVALID;
    }
    for (size_t i = 0; i < init->n_members; i++) {
        draft->members[i] = init->members[i];
    }
    draft->record.n_members = init->n_members;
    draft->changed = true;
    return SR_API_NONE;
}

static enum sr_api_error change_add(struct draft *draft, const Strongroom__MemberRecord *member)
{
    const Strongroom__ClusterRecord *record = &draft->record;
    if (!sr_is_member(member, true) || member->feature_level != 0) {
        return SR_API_MEMBER_INVALID;
    }
    if (is_removed(record, member->id)) {
        return SR_API_MEMBER_REMOVED;
    }
    if (sr_cluster_member(record, member->id) != NULL) {
        return SR_API_MEMBER_EXISTS;
    }
    if (has_address(record, member->id, member->peer_address)) {
        return SR_API_PEER_URL_EXISTS;
    }
    if (has_name(record, member->id, member->name)) {
        return SR_API_MEMBER_NAME_EXISTS;
    }
    if (record->n_members == SR_MEMBERS_MAX) {
        return SR_API_TOO_MANY_MEMBERS;
    }
    if (!member->voter && record->n_members - count_voters(record) >= SR_LEARNERS_MAX) {
        return SR_API_TOO_MANY_LEARNERS;
    }
    insert_member(draft, member);
    return SR_API_NONE;
}

static void drop_alarms(struct draft *draft, uint64_t member_id)
{
    size_t kept = 0;
    for (size_t i = 0; i < draft->record.n_alarms; i++) {
        if (draft->alarms[i]->member_id != member_id) {
            draft->alarms[kept++] = draft->alarms[i];
        }
    }
    draft->record.n_alarms = kept;
}

static void remember_removed(struct draft *draft, uint64_t id)
{
    if (draft->record.n_removed == SR_REMOVED_MAX) {
        memmove(draft->removed, draft->removed + 1, sizeof(draft->removed) - sizeof(uint64_t));
        draft->record.n_removed--;
    }
    draft->removed[draft->record.n_removed++] = id;
}

static enum sr_api_error change_remove(struct draft *draft, uint64_t id)
{
    size_t at = find_member(&draft->record, id);
    if (at == draft->record.n_members) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (draft->members[at]->voter && count_voters(&draft->record) == 1) {
        return SR_API_NOT_ENOUGH_STARTED;
    }
    draft->record.n_members--;
    for (; at < draft->record.n_members; at++) {
        draft->members[at] = draft->members[at + 1];
    }
    drop_alarms(draft, id);
    remember_removed(draft, id);
    draft->changed = true;
    return SR_API_NONE;
}

static enum sr_api_error change_update(struct draft *draft, const Strongroom__MemberAddress *to)
{
    if (!edit_member(draft, to->id)) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (!sr_is_address(to->peer_address)) {
        return SR_API_MEMBER_URLS_INVALID;
    }
    if (has_address(&draft->record, to->id, to->peer_address)) {
        return SR_API_PEER_URL_EXISTS;
    }
    draft->changed = strcmp(draft->member.peer_address, to->peer_address) != 0;
    draft->member.peer_address = to->peer_address;
    return SR_API_NONE;
}

static enum sr_api_error change_promote(struct draft *draft, uint64_t id)
{
    if (!edit_member(draft, id)) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (draft->member.voter) {
        return SR_API_NOT_A_LEARNER;
    }
    draft->member.voter = true;
    draft->changed = true;
    return SR_API_NONE;
}

static bool same_urls(const Strongroom__MemberRecord *a, const Strongroom__MemberRecord *b)
{
    if (a->n_client_urls != b->n_client_urls) {
        return false;
    }
    for (size_t i = 0; i < a->n_client_urls; i++) {
        if (strcmp(a->client_urls[i], b->client_urls[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* What a node says about itself. Its name is also that of its certificate: it stays. */
static enum sr_api_error take_own(struct draft *draft, const Strongroom__MemberRecord *own)
{
    Strongroom__MemberRecord *member = &draft->member;
    if (!sr_is_member(own, false) || own->feature_level == 0 ||
        (member->name[0] != 0 && strcmp(member->name, own->name) != 0)) {
        return SR_API_MEMBER_INVALID;
    }
    if (has_name(&draft->record, own->id, own->name)) {
        return SR_API_MEMBER_NAME_EXISTS;
    }
    draft->changed = strcmp(member->name, own->name) != 0 || strcmp(member->zone, own->zone) != 0 ||
                     member->feature_level != own->feature_level || member->token_hash.len > 0 ||
                     !same_urls(member, own);
    member->name = own->name;
    member->zone = own->zone;
    member->n_client_urls = own->n_client_urls;
    member->client_urls = own->client_urls;
    member->feature_level = own->feature_level;
    member->token_hash = (ProtobufCBinaryData){0};
    return SR_API_NONE;
}

static enum sr_api_error change_publish(struct draft *draft, const Strongroom__MemberRecord *own)
{
    return edit_member(draft, own->id) ? take_own(draft, own) : SR_API_MEMBER_NOT_FOUND;
}

static bool same_claim(const Strongroom__MemberRecord *a, const Strongroom__MemberRecord *b)
{
    return a->token_hash.len > 0 && a->token_hash.len == b->token_hash.len &&
           memcmp(a->token_hash.data, b->token_hash.data, a->token_hash.len) == 0;
}

/* A place is taken once. Whoever has taken it may say so again until it has published: the answer
 * may have been lost on its way. */
static enum sr_api_error change_claim(struct draft *draft, const Strongroom__MemberRecord *own)
{
    if (!edit_member(draft, own->id)) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (draft->member.feature_level > 0) {
        return same_claim(&draft->member, own) ? SR_API_NONE : SR_API_MEMBER_CLAIMED;
    }
    enum sr_api_error error = take_own(draft, own);
    draft->member.token_hash = own->token_hash;
    return error;
}

/* ---- Alarms ---- */

static size_t find_alarm(const Strongroom__ClusterRecord *record,
                         const Strongroom__AlarmRecord *alarm)
{
    size_t at = 0;
    while (at < record->n_alarms && (record->alarms[at]->member_id != alarm->member_id ||
                                     record->alarms[at]->alarm != alarm->alarm)) {
        at++;
    }
    return at;
}

bool sr_cluster_is_alarm(uint32_t alarm)
{
    return alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE || alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT;
}

bool sr_cluster_alarm_is_before(const Strongroom__AlarmRecord *a, const Strongroom__AlarmRecord *b)
{
    return a->member_id < b->member_id || (a->member_id == b->member_id && a->alarm < b->alarm);
}

static enum sr_api_error change_raise(struct draft *draft, const Strongroom__AlarmRecord *alarm)
{
    if (!sr_cluster_is_alarm(alarm->alarm)) {
        return SR_API_ALARM_INVALID;
    }
    if (sr_cluster_member(&draft->record, alarm->member_id) == NULL) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (find_alarm(&draft->record, alarm) < draft->record.n_alarms) {
        return SR_API_NONE;
    }
    sr_check(draft->record.n_alarms < SR_ALARMS_MAX); /* each is of a member, and there once */
    draft->alarm = *alarm;
    if (draft->alarm.index == 0) {
        draft->alarm.index = draft->index;
    }
    size_t at = draft->record.n_alarms++;
    for (; at > 0 && sr_cluster_alarm_is_before(alarm, draft->alarms[at - 1]); at--) {
        draft->alarms[at] = draft->alarms[at - 1];
    }
    draft->alarms[at] = &draft->alarm;
    draft->changed = true;
    return SR_API_NONE;
}

static enum sr_api_error change_clear(struct draft *draft, const Strongroom__AlarmRecord *alarm)
{
    if (!sr_cluster_is_alarm(alarm->alarm)) {
        return SR_API_ALARM_INVALID;
    }
    size_t at = find_alarm(&draft->record, alarm);
    if (at == draft->record.n_alarms) {
        return SR_API_NONE;
    }
    draft->record.n_alarms--;
    for (; at < draft->record.n_alarms; at++) {
        draft->alarms[at] = draft->alarms[at + 1];
    }
    draft->changed = true;
    return SR_API_NONE;
}

/* ---- All of it ---- */

static enum sr_api_error change_draft(struct draft *draft, const Strongroom__ClusterChange *change)
{
    switch (change->change_case) {
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT:
        return change_init(draft, change->init);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD:
        return change_add(draft, change->add);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE:
        return change_remove(draft, change->remove);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE:
        return change_update(draft, change->update);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE:
        return change_promote(draft, change->promote);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_PUBLISH:
        return change_publish(draft, change->publish);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_CLAIM:
        return change_claim(draft, change->claim);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE:
        return change_raise(draft, change->raise);
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR:
        return change_clear(draft, change->clear);
    default:
        return SR_API_NONE; /* a Check changes nothing here */
    }
}

enum sr_api_error sr_cluster_change(const Strongroom__ClusterRecord *record,
                                    const Strongroom__ClusterChange *change, uint64_t index,
                                    struct sr_buf *ret_packed)
{
    sr_check(ret_packed->size == 0);
    if (change->expected_epoch != 0 && change->expected_epoch != record->epoch) {
        return SR_API_CLUSTER_CHANGED;
    }
    if (record->epoch == 0 && change->change_case != STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT &&
        change->change_case != STRONGROOM__CLUSTER_CHANGE__CHANGE_CHECK) {
        return SR_API_CLUSTER_UNKNOWN;
    }
    struct draft draft;
    draft_init(&draft, record, index);
    enum sr_api_error error = change_draft(&draft, change);
    if (error == SR_API_NONE && draft.changed) {
        draft.record.epoch++;
        size_t size = strongroom__cluster_record__get_packed_size(&draft.record);
        strongroom__cluster_record__pack(&draft.record, sr_buf_extend(ret_packed, size));
    }
    return error;
}
