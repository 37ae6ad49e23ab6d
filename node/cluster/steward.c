/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/steward.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/secret.h"
#include "node/cluster/preference.h"
#include "proto/level.h"
#include "proto/rpc.pb-c.h"
#include "storage/offsite.h"

/* After a change that failed, or one that should have helped and did not. */
#define RETRY_MS UINT64_C(5000)
/* How long members may take to report on a check. */
#define REPORTS_MS UINT64_C(20000)
/* The leader tells how far the members are each second. */
#define PROGRESS_AGE_MS_MAX 10000

struct sr_steward {
    struct sr_steward_options options;
    atomic_uint feature_level;
    uint64_t change_after_ms;  /* no founding or publishing before */
    uint64_t offsite_after_ms; /* likewise, of the off-site record */
    struct sr_preference preference;
    bool accused;            /* and said so */
    bool lacked_space;       /* at the last round */
    uint64_t alarm_after_ms; /* no NOSPACE raised or cleared before */
    /* The replica check. */
    uint64_t checked_at_ms; /* when one was last asked for; 0: never */
    uint64_t checking_since_ms;
    uint64_t checking_index; /* reports on it are awaited; 0: on none */
    uint64_t reported_index; /* our own last report */
    _Atomic uint64_t checks;
    _Atomic uint64_t odd;
    _Atomic uint64_t unclear;
    _Atomic uint64_t hand_overs;
};

static const struct sr_steward_env *env_of(const struct sr_steward *steward)
{
    return &steward->options.env;
}

static const Strongroom__MemberRecord *find(const Strongroom__ClusterRecord *record, uint64_t id)
{
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id == id) {
            return record->members[i];
        }
    }
    return NULL;
}

/* ---- Feature level ---- */

static unsigned level_of(const struct sr_steward *steward, uint64_t member)
{
    return member == steward->options.self
               ? steward->options.feature_level
               : env_of(steward)->level_of(env_of(steward)->arg, member);
}

/* Before there is a record: what hellos have said; in it: what members have published. A place
 * that nobody has taken yet will be taken by a node that knows what a place is. */
static unsigned lowest_level(const struct sr_steward *steward,
                             const Strongroom__ClusterRecord *record)
{
    const Strongroom__ClusterRecord *from = record->epoch > 0 ? record : steward->options.founders;
    unsigned lowest = steward->options.feature_level;
    for (size_t i = 0; i < from->n_members; i++) {
        const Strongroom__MemberRecord *member = from->members[i];
        unsigned level = record->epoch > 0 ? member->feature_level : level_of(steward, member->id);
        if ((record->epoch == 0 || level > 0) && level < lowest) {
            lowest = level;
        }
    }
    return lowest;
}

/* ---- Founding and publishing ---- */

static void propose(struct sr_steward *steward, uint64_t now_ms, const char *what,
                    const Strongroom__ClusterChange *change)
{
    enum sr_api_error error = env_of(steward)->change(env_of(steward)->arg, change);
    steward->change_after_ms = now_ms + RETRY_MS;
    if (error == SR_API_NONE) {
        sr_log(SR_LOG_INFO, "steward", what, "");
    } else if (error != SR_API_CLUSTER_CHANGED && error != SR_API_STOPPED) {
        sr_log(SR_LOG_WARN, "steward", "proposal failed", "what=\"%s\" reason=\"%s\"", what,
               sr_api_error_text(error));
    }
}

static void found(struct sr_steward *steward, uint64_t now_ms)
{
    const Strongroom__ClusterRecord *founders = steward->options.founders;
    Strongroom__ClusterRecord init = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__MemberRecord members[SR_MEMBERS_MAX];
    Strongroom__MemberRecord *pointers[SR_MEMBERS_MAX];
    for (size_t i = 0; i < founders->n_members; i++) {
        members[i] = *founders->members[i];
        members[i].voter = true;
        members[i].feature_level = level_of(steward, members[i].id);
        pointers[i] = &members[i];
    }
    init.members = pointers;
    init.n_members = founders->n_members;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT;
    change.init = &init;
    propose(steward, now_ms, "cluster record founded", &change);
}

static bool is_published(const Strongroom__MemberRecord *own, const Strongroom__MemberRecord *as)
{
    bool same = strcmp(own->name, as->name) == 0 && strcmp(own->zone, as->zone) == 0 &&
                own->feature_level == as->feature_level && as->token_hash.len == 0 &&
                own->n_client_urls == as->n_client_urls;
    for (size_t i = 0; same && i < own->n_client_urls; i++) {
        same = strcmp(own->client_urls[i], as->client_urls[i]) == 0;
    }
    return same;
}

static void publish(struct sr_steward *steward, uint64_t now_ms,
                    const Strongroom__ClusterRecord *record)
{
    const Strongroom__MemberRecord *configured =
        find(steward->options.founders, steward->options.self);
    const Strongroom__MemberRecord *as = find(record, steward->options.self);
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    if (configured == NULL || as == NULL) {
        return; /* not a member, or not yet as far as we know */
    }
    Strongroom__MemberRecord own = *configured;
    own.feature_level = steward->options.feature_level;
    own.token_hash = (ProtobufCBinaryData){0};
    if (!is_published(&own, as)) {
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_PUBLISH;
        change.publish = &own;
        propose(steward, now_ms, "own record published", &change);
    }
}

static void keep_record(struct sr_steward *steward, uint64_t now_ms, bool leads,
                        const Strongroom__ClusterRecord *record)
{
    if (now_ms < steward->change_after_ms ||
        atomic_load(&steward->feature_level) < SR_FEATURE_LEVEL_CLUSTER) {
        return;
    }
    if (record->epoch > 0) {
        publish(steward, now_ms, record);
    } else if (leads) {
        found(steward, now_ms);
    }
}

/* Draw the archive secret. If two leaders do, the first one counts (decision 0018). */
static enum sr_api_error found_offsite(const struct sr_steward *steward, struct sr_err *err)
{
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteInit init = STRONGROOM__OFFSITE_INIT__INIT;
    struct sr_archive_secret *secret = NULL;
    uint8_t packed[SR_ARCHIVE_SECRET_BYTES];
    if (sr_archive_secret_draw(&secret, err) != SR_OK) {
        return SR_API_OFFSITE_UNKNOWN;
    }
    sr_archive_secret_pack(secret, packed);
    sr_archive_secret_free(secret);
    init.secret = (ProtobufCBinaryData){sizeof(packed), packed};
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_INIT;
    change.init = &init;
    enum sr_api_error error = env_of(steward)->offsite(env_of(steward)->arg, &change);
    sr_secret_wipe(packed, sizeof(packed));
    (void)sr_err_set(err, SR_REFUSED, "%s", sr_api_error_text(error));
    return error;
}

static void keep_offsite(struct sr_steward *steward, uint64_t now_ms, bool leads,
                         const Strongroom__ClusterRecord *record)
{
    struct sr_err err = {0};
    if (!steward->options.offsite || !leads || record->epoch == 0 ||
        now_ms < steward->offsite_after_ms ||
        atomic_load(&steward->feature_level) < SR_FEATURE_LEVEL_OFFSITE ||
        sr_store_offsite_epoch(steward->options.store) > 0) {
        return;
    }
    enum sr_api_error error = found_offsite(steward, &err);
    steward->offsite_after_ms = now_ms + RETRY_MS;
    if (error == SR_API_NONE) {
        sr_log(SR_LOG_INFO, "steward", "off-site record founded", "");
    } else if (error != SR_API_STOPPED && error != SR_API_OFFSITE_LEVEL) {
        sr_log(SR_LOG_WARN, "steward", "off-site record not founded", "reason=\"%s\"", err.text);
    }
}

/* ---- Space ---- */

static bool has_alarm(const Strongroom__ClusterRecord *record, uint64_t member, uint32_t type)
{
    for (size_t i = 0; i < record->n_alarms; i++) {
        if (record->alarms[i]->member_id == member && record->alarms[i]->alarm == type) {
            return true;
        }
    }
    return false;
}

/* This node's own NOSPACE follows its disk: what has been so for two rounds goes to the record, so
 * that all members know. */
static void keep_space_alarm(struct sr_steward *steward, uint64_t now_ms,
                             const Strongroom__ClusterRecord *record)
{
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__AlarmRecord alarm = STRONGROOM__ALARM_RECORD__INIT;
    bool lacks = env_of(steward)->lacks_space(env_of(steward)->arg);
    bool settled = lacks == steward->lacked_space;
    steward->lacked_space = lacks;
    if (!settled || now_ms < steward->alarm_after_ms ||
        find(record, steward->options.self) == NULL ||
        lacks == has_alarm(record, steward->options.self, ETCDSERVERPB__ALARM_TYPE__NOSPACE)) {
        return;
    }
    alarm.member_id = steward->options.self;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    change.change_case =
        lacks ? STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE : STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR;
    if (lacks) {
        change.raise = &alarm;
    } else {
        change.clear = &alarm;
    }
    enum sr_api_error error = env_of(steward)->change(env_of(steward)->arg, &change);
    if (error == SR_API_NONE) {
        sr_log(lacks ? SR_LOG_WARN : SR_LOG_INFO, "steward",
               lacks ? "alarm raised: the disk is short of space"
                     : "alarm cleared: the disk has space again",
               "");
    } else { /* with a full log the outcome stays unknown until there is space */
        steward->alarm_after_ms = now_ms + RETRY_MS;
    }
}

/* ---- Replica check ---- */

static void accuse(struct sr_steward *steward, uint64_t member, uint64_t index)
{
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__AlarmRecord alarm = STRONGROOM__ALARM_RECORD__INIT;
    alarm.member_id = member;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    alarm.index = index;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE;
    change.raise = &alarm;
    sr_log(SR_LOG_ERROR, "steward", "a member's state differs",
           "member=%016" PRIx64 " index=%" PRIu64, member, index);
    enum sr_api_error error = env_of(steward)->change(env_of(steward)->arg, &change);
    if (error != SR_API_NONE) {
        sr_log(SR_LOG_ERROR, "steward", "alarm not raised, will be at the next check",
               "reason=\"%s\"", sr_api_error_text(error));
    }
}

static void compare(struct sr_steward *steward, uint64_t now_ms,
                    const Strongroom__ClusterRecord *record)
{
    struct sr_replica_report reports[SR_MEMBERS_MAX];
    uint64_t members[SR_MEMBERS_MAX];
    uint64_t odd[SR_MEMBERS_MAX];
    size_t member_count = 0;
    size_t odd_count = 0;
    size_t count = env_of(steward)->reports(env_of(steward)->arg, reports);
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->feature_level > 0) {
            members[member_count++] = record->members[i]->id;
        }
    }
    bool late = now_ms - steward->checking_since_ms >= REPORTS_MS;
    enum sr_replicas found = sr_replicas_judge(reports, count, steward->checking_index, members,
                                               member_count, late, odd, &odd_count);
    if (found == SR_REPLICAS_WAIT && !late) {
        return;
    }
    if (found == SR_REPLICAS_EQUAL) {
        atomic_fetch_add(&steward->checks, 1);
        sr_log(SR_LOG_DEBUG, "steward", "replicas are equal", "index=%" PRIu64,
               steward->checking_index);
    } else if (found == SR_REPLICAS_UNCLEAR) {
        atomic_fetch_add(&steward->unclear, 1);
        sr_log(SR_LOG_ERROR, "steward", "replicas differ, and no majority says which is right",
               "index=%" PRIu64, steward->checking_index);
    } else if (found == SR_REPLICAS_WAIT) {
        sr_log(SR_LOG_WARN, "steward", "too few members reported on a replica check",
               "index=%" PRIu64 " reports=%zu", steward->checking_index, count);
    }
    atomic_fetch_add(&steward->odd, odd_count);
    for (size_t i = 0; i < odd_count; i++) {
        accuse(steward, odd[i], steward->checking_index);
    }
    steward->checking_index = 0;
}

static void ask_for_check(struct sr_steward *steward, uint64_t now_ms)
{
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__Check check = STRONGROOM__CHECK__INIT;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_CHECK;
    change.check = &check;
    steward->checked_at_ms = now_ms;
    if (env_of(steward)->change(env_of(steward)->arg, &change) == SR_API_NONE) {
        struct sr_store_check ours;
        sr_store_last_check(steward->options.store, &ours);
        steward->checking_index = ours.index;
        steward->checking_since_ms = now_ms;
    }
}

/* Everybody tells what it found; a leader that does not know what was told before asks anew. */
static void check_replicas(struct sr_steward *steward, uint64_t now_ms, bool leads,
                           const Strongroom__ClusterRecord *record)
{
    struct sr_store_check ours;
    if (record->epoch == 0 || atomic_load(&steward->feature_level) < SR_FEATURE_LEVEL_CLUSTER) {
        return;
    }
    if (!leads) {
        steward->checking_index = 0;
        steward->checked_at_ms = now_ms; /* the first one when we lead is an interval away */
    } else if (steward->checking_index == 0 &&
               now_ms - steward->checked_at_ms >= steward->options.check_interval_ms) {
        ask_for_check(steward, now_ms);
    }
    sr_store_last_check(steward->options.store, &ours);
    if (ours.index != steward->reported_index) {
        steward->reported_index = ours.index;
        env_of(steward)->report(env_of(steward)->arg, &ours);
    }
    if (leads && steward->checking_index != 0) {
        compare(steward, now_ms, record);
    }
}

/* ---- Leadership ---- */

/* One whose state is in doubt or whose disk is full is no leader to wish for. */
static bool has_any_alarm(const Strongroom__ClusterRecord *record, uint64_t member)
{
    return has_alarm(record, member, ETCDSERVERPB__ALARM_TYPE__CORRUPT) ||
           has_alarm(record, member, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
}

/* The members of the record as the leader sees them; none while nothing recent is known. */
static size_t look_around(const struct sr_steward *steward, const Strongroom__ClusterRecord *record,
                          struct sr_zone_member out[SR_MEMBERS_MAX])
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    uint64_t age_ms = 0;
    size_t told = env_of(steward)->progress(env_of(steward)->arg, progress, &age_ms);
    size_t count = 0;
    if (age_ms > PROGRESS_AGE_MS_MAX) {
        return 0;
    }
    for (size_t i = 0; i < told; i++) {
        const Strongroom__MemberRecord *member = find(record, progress[i].id);
        if (member != NULL) {
            out[count++] =
                (struct sr_zone_member){.id = member->id,
                                        .name = member->name,
                                        .zone = member->zone,
                                        .voter = progress[i].role == SR_ROLE_VOTER,
                                        .healthy = progress[i].up && progress[i].caught_up &&
                                                   !has_any_alarm(record, member->id)};
        }
    }
    return count;
}

static void hand_over(struct sr_steward *steward, uint64_t to, const char *why)
{
    sr_log(SR_LOG_INFO, "steward", "handing leadership over", "to=%016" PRIx64 " reason=\"%s\"", to,
           why);
    env_of(steward)->move_leader(env_of(steward)->arg, to);
}

static void prefer(struct sr_steward *steward, uint64_t now_ms, bool leads,
                   const Strongroom__ClusterRecord *record)
{
    struct sr_zone_member members[SR_MEMBERS_MAX];
    size_t count = look_around(steward, record, members);
    uint64_t to = sr_preference_tick(&steward->preference, now_ms, steward->options.self, leads,
                                     members, count);
    if (steward->accused && leads) {
        for (size_t i = 0; i < count; i++) {
            if (members[i].voter && members[i].healthy) {
                hand_over(steward, members[i].id, "this node's state is in doubt");
                return;
            }
        }
    } else if (to != 0) {
        atomic_fetch_add(&steward->hand_overs, 1);
        hand_over(steward, to, "its zone is preferred");
    }
}

static void note_accusation(struct sr_steward *steward)
{
    bool accused = (sr_store_alarms(steward->options.store) & SR_ALARM_CORRUPT_HERE) != 0;
    if (accused && !steward->accused) {
        sr_log(SR_LOG_ERROR, "steward",
               "this node's state differs from that of the other members: it does not serve", "%s",
               "advice=\"rebuild it from its peers, then clear the alarm\"");
    } else if (!accused && steward->accused) {
        sr_log(SR_LOG_WARN, "steward", "the alarm against this node was cleared: it serves again",
               "");
    }
    steward->accused = accused;
}

/* ---- All of it ---- */

bool sr_steward_tick(struct sr_steward *steward)
{
    const struct sr_steward_env *env = env_of(steward);
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err = {0};
    uint64_t now_ms = env->now_ms(env->arg);
    bool leads = env->leads(env->arg);
    if (sr_store_cluster(steward->options.store, &record, &err) != SR_OK) {
        sr_log(SR_LOG_ERROR, "steward", "no cluster record", "reason=\"%s\"", err.text);
        return false;
    }
    atomic_store(&steward->feature_level, lowest_level(steward, record));
    env->tell_level(env->arg, atomic_load(&steward->feature_level));
    note_accusation(steward);
    keep_record(steward, now_ms, leads, record);
    keep_offsite(steward, now_ms, leads, record);
    keep_space_alarm(steward, now_ms, record);
    check_replicas(steward, now_ms, leads, record);
    prefer(steward, now_ms, leads, record);
    bool founded = record->epoch > 0;
    strongroom__cluster_record__free_unpacked(record, NULL);
    return founded;
}

struct sr_steward *sr_steward_new(const struct sr_steward_options *options)
{
    struct sr_steward *steward = sr_zalloc(sizeof(*steward));
    steward->options = *options;
    steward->preference = (struct sr_preference){.zones = options->preferred_zones,
                                                 .zone_count = options->preferred_zone_count};
    return steward;
}

void sr_steward_free(struct sr_steward *steward)
{
    sr_free(steward);
}

unsigned sr_steward_feature_level(const struct sr_steward *steward)
{
    return atomic_load(&steward->feature_level);
}

void sr_steward_counts(const struct sr_steward *steward, struct sr_steward_counts *ret)
{
    *ret = (struct sr_steward_counts){.checks = atomic_load(&steward->checks),
                                      .odd = atomic_load(&steward->odd),
                                      .unclear = atomic_load(&steward->unclear),
                                      .hand_overs = atomic_load(&steward->hand_overs)};
}
