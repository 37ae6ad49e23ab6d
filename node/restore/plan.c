/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/restore/plan_internal.h"
#include "node/restore/when.h"

#define TEXT                                                                                       \
    (char[SR_WHEN_CHARS])                                                                          \
    {                                                                                              \
        0                                                                                          \
    }

/* At the latest when the archive was whole. */
uint64_t sr_plan_time(const struct sr_manifest *manifest)
{
    const Strongroom__Manifest *said = manifest->said;
    return said->newest_change_ms > 0 ? said->newest_change_ms : said->ended_ms;
}

/* ---- Full archives ---- */

static bool take_full(struct sr_planning *planning, struct sr_manifest *manifest)
{
    planning->plan->full[planning->plan->full_opened++] = manifest;
    return true;
}

static int open_full(struct sr_planning *planning, struct sr_err *err)
{
    struct sr_plan *plan = planning->plan;
    plan->full = sr_calloc(planning->full_count + 1, sizeof(struct sr_manifest *));
    int status = sr_plan_open_each(planning, planning->full, planning->full_count, take_full, err);
    if (status == SR_OK && plan->full_opened == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "%s: there is no snapshot of cluster %016" PRIx64,
                          sr_target_title(planning->target), plan->cluster_id);
    }
    return status == SR_OK ? sr_plan_chain(planning, plan->full, plan->full_opened, false,
                                           &plan->full_count, err)
                           : status;
}

static bool may_begin_with(const struct sr_plan_wish *wish, const struct sr_manifest *manifest)
{
    return (wish->sequence == 0 || manifest->said->sequence == wish->sequence) &&
           (wish->revision == 0 || manifest->said->until_revision <= wish->revision) &&
           (wish->time_ms == 0 || sr_plan_time(manifest) <= wish->time_ms);
}

static int refuse_base(const struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    const struct sr_manifest *oldest = planning->plan->full[0];
    if (wish->sequence != 0) {
        return sr_err_set(err, SR_NOT_FOUND, "snapshot %" PRIu64 " is not there", wish->sequence);
    }
    return sr_err_set(err, SR_NOT_FOUND,
                      "%s is before the oldest snapshot that is there, which has revision %" PRId64
                      " of %s",
                      wish->revision != 0 ? "that revision" : sr_when_text(wish->time_ms, TEXT),
                      oldest->said->until_revision, sr_when_text(sr_plan_time(oldest), TEXT));
}

/* The newest that is not beyond the bound. */
static int choose_base(struct sr_planning *planning, struct sr_err *err)
{
    struct sr_plan *plan = planning->plan;
    const struct sr_manifest *base = NULL;
    for (size_t i = 0; i < plan->full_count; i++) {
        struct sr_manifest *one = plan->full[i];
        if (may_begin_with(planning->wish, one) &&
            (base == NULL || one->said->until_revision >= base->said->until_revision)) {
            base = one;
        }
        if (one->said->until_revision >= plan->reach_revision) {
            plan->reach_revision = one->said->until_revision;
            plan->reach_ms = sr_plan_time(one);
        }
    }
    if (base == NULL) {
        return refuse_base(planning, err);
    }
    plan->steps = sr_calloc(planning->changes_count + 1, sizeof(struct sr_manifest *));
    plan->steps[plan->step_count++] = base;
    plan->revision = base->said->until_revision;
    return SR_OK;
}

/* ---- Changes ---- */

/* Whether @manifest reaches the bound. */
static bool is_enough(const struct sr_plan_wish *wish, const struct sr_manifest *manifest)
{
    return (wish->revision != 0 && manifest->said->until_revision >= wish->revision) ||
           (wish->time_ms != 0 && sr_plan_time(manifest) >= wish->time_ms);
}

/* Whether nothing behind it is needed: what follows may have come in the same millisecond. */
static bool is_last(const struct sr_plan_wish *wish, const struct sr_manifest *manifest)
{
    return is_enough(wish, manifest) &&
           (wish->time_ms == 0 || sr_plan_time(manifest) > wish->time_ms);
}

static bool take_changes(struct sr_planning *planning, struct sr_manifest *manifest)
{
    planning->plan->changes[planning->plan->changes_opened++] = manifest;
    return !is_last(planning->wish, manifest);
}

/* Those behind the base, up to the bound, if there is one. */
static int open_changes(struct sr_planning *planning, struct sr_err *err)
{
    struct sr_plan *plan = planning->plan;
    size_t first = 0;
    int status = SR_OK;
    plan->changes = sr_calloc(planning->changes_count + 1, sizeof(struct sr_manifest *));
    while (first < planning->changes_count && planning->changes[first].revision <= plan->revision) {
        first++;
    }
    if (!is_last(planning->wish, plan->steps[0])) {
        status = sr_plan_open_each(planning, planning->changes + first,
                                   planning->changes_count - first, take_changes, err);
    }
    return status == SR_OK && plan->changes_opened > 0
               ? sr_plan_chain(planning, plan->changes, plan->changes_opened, first > 0,
                               &plan->changes_count, err)
               : status;
}

static int check_family(const struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan *plan = planning->plan;
    const struct sr_manifest *base = plan->steps[0];
    for (size_t i = 0; i < plan->changes_count; i++) {
        const struct sr_manifest *one = plan->changes[i];
        if (memcmp(one->public_key, base->public_key, SR_SIGNING_BYTES) != 0) {
            return sr_err_set(err, SR_REFUSED, "foreign: %s and %s are signed by different keys",
                              base->said->object, one->said->object);
        }
        if (strcmp(one->said->target, base->said->target) != 0) {
            return sr_err_set(err, SR_REFUSED, "foreign: %s and %s are not of one target",
                              base->said->object, one->said->object);
        }
    }
    return SR_OK;
}

/* Where the changes do not reach. */
struct gap {
    int64_t after;
    int64_t until; /* 0: there is none */
};

/* Put changes on the base as far as they follow each other. */
static struct gap walk(struct sr_planning *planning)
{
    struct sr_plan *plan = planning->plan;
    struct gap gap = {0};
    for (size_t i = 0; i < plan->changes_count; i++) {
        const struct sr_manifest *one = plan->changes[i];
        if (is_last(planning->wish, sr_plan_last(plan))) {
            break;
        }
        if (one->said->until_revision <= plan->revision) {
            continue;
        }
        if (one->said->since_revision > plan->revision) {
            if (gap.until == 0) {
                gap = (struct gap){plan->revision, one->said->since_revision};
            }
            continue;
        }
        gap = (struct gap){0};
        plan->steps[plan->step_count++] = one;
        plan->revision = one->said->until_revision;
    }
    return gap;
}

/* The newest object by its name tells how far all of it goes, when the plan ends before. */
static int look_at_newest(struct sr_planning *planning, struct sr_err *err)
{
    struct sr_plan *plan = planning->plan;
    struct sr_manifest *newest = NULL;
    const struct sr_manifest *last = sr_plan_last(plan);
    int status = SR_OK;
    if (plan->changes_count > 0) {
        last = plan->changes[plan->changes_count - 1];
    }
    if (planning->changes_count > 0 &&
        planning->changes[planning->changes_count - 1].revision > last->said->until_revision) {
        status =
            sr_plan_open(planning, &planning->changes[planning->changes_count - 1], &newest, err);
        last = newest != NULL ? newest : last;
    }
    if (status == SR_OK && last->said->until_revision >= plan->reach_revision) {
        plan->reach_revision = last->said->until_revision;
        plan->reach_ms = sr_plan_time(last);
    }
    sr_manifest_free(newest);
    return status;
}

/* ---- Is that what was wanted? ---- */

static int check_age(const struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan *plan = planning->plan;
    int64_t known = planning->wish->revision_min;
    if (plan->reach_revision >= known) {
        return SR_OK;
    }
    return sr_err_set(err, SR_REFUSED,
                      "stale: all that is there ends at revision %" PRId64 ", and %" PRId64
                      " is known to have been shipped",
                      plan->reach_revision, known);
}

/* A newer snapshot was made because what is missing could not be shipped any more. */
static bool is_bridged(const struct sr_plan *plan, struct gap gap)
{
    for (size_t i = 0; i < plan->full_count; i++) {
        if (plan->full[i]->said->until_revision >= gap.until) {
            return true;
        }
    }
    return false;
}

/* The wanted revision or time is where nothing was shipped. */
static int refuse_bound(const struct sr_plan *plan, struct gap gap, struct sr_err *err)
{
    return sr_err_set(err, SR_NOT_FOUND,
                      "changes between revision %" PRId64 " of %s and revision %" PRId64
                      " were never shipped, or are gone: restore the one or the other",
                      gap.after, sr_when_text(sr_plan_time(sr_plan_last(plan)), TEXT), gap.until);
}

static int check_gap(struct sr_planning *planning, struct gap gap, struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    struct sr_plan *plan = planning->plan;
    bool bound = wish->revision != 0 || wish->time_ms != 0;
    if (gap.until == 0 || is_enough(wish, sr_plan_last(plan))) {
        return SR_OK;
    }
    if (!wish->salvage && bound && is_bridged(plan, gap)) {
        return refuse_bound(plan, gap, err);
    }
    if (!wish->salvage && !is_bridged(plan, gap)) {
        return sr_err_set(err, SR_CORRUPT,
                          "truncated: changes between revision %" PRId64 " and revision %" PRId64
                          " are missing, although there are later ones",
                          gap.after, gap.until);
    }
    sr_plan_note(plan,
                 "changes between revision %" PRId64 " and revision %" PRId64
                 " are missing: what is later cannot be put on top",
                 gap.after, gap.until);
    return SR_OK;
}

/* A snapshot beyond the bound, with nothing that leads to it. */
static struct gap gap_to_snapshot(const struct sr_plan *plan)
{
    for (size_t i = 0; i < plan->full_count; i++) {
        if (plan->full[i]->said->until_revision > plan->revision) {
            return (struct gap){plan->revision, plan->full[i]->said->until_revision};
        }
    }
    return (struct gap){0};
}

static int check_bound(struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    struct sr_plan *plan = planning->plan;
    const struct sr_manifest *last = sr_plan_last(plan);
    if (is_enough(wish, last)) {
        plan->revision = wish->revision != 0 ? wish->revision : plan->revision;
        return SR_OK;
    }
    if (wish->revision != 0) {
        return sr_err_set(err, SR_NOT_FOUND,
                          "revision %" PRId64 " is not there: what is there ends at %" PRId64
                          " of %s",
                          wish->revision, plan->revision, sr_when_text(sr_plan_time(last), TEXT));
    }
    if (wish->time_ms != 0) {
        sr_plan_note(plan, "nothing was shipped between %s and %s: what was written then is lost",
                     sr_when_text(sr_plan_time(last), TEXT), sr_when_text(wish->time_ms, TEXT));
    }
    return SR_OK;
}

/* ---- The plan ---- */

static int make(struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    struct sr_plan *plan = planning->plan;
    struct gap gap = {0};
    int status = sr_plan_list(planning, err);
    if (status == SR_OK) {
        status = open_full(planning, err);
    }
    if (status == SR_OK) {
        sr_fingerprint(plan->full[plan->full_count - 1]->public_key, plan->fingerprint);
        status = choose_base(planning, err);
    }
    if (status == SR_OK) {
        status = open_changes(planning, err);
    }
    if (status == SR_OK) {
        status = check_family(planning, err);
    }
    if (status == SR_OK) {
        gap = walk(planning);
        status = look_at_newest(planning, err);
    }
    if (status == SR_OK) {
        status = check_age(planning, err);
    }
    if (gap.until == 0 && (wish->revision != 0 || wish->time_ms != 0)) {
        gap = gap_to_snapshot(plan);
    }
    if (status == SR_OK) {
        status = check_gap(planning, gap, err);
    }
    if (status == SR_OK) {
        status = check_bound(planning, err);
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        plan->bytes += plan->steps[i]->said->size;
    }
    return status;
}

int sr_plan_make_with(struct sr_targets targets, const struct sr_plan_wish *wish,
                      struct sr_plan **ret, struct sr_err *err)
{
    sr_check(wish->revision == 0 || wish->time_ms == 0);
    struct sr_planning planning = {.targets = targets,
                                   .target = targets.list[0],
                                   .wish = wish,
                                   .plan = sr_zalloc(sizeof(struct sr_plan))};
    planning.plan->until_revision = wish->revision;
    planning.plan->until_ms = wish->time_ms;
    int status = make(&planning, err);
    sr_buf_close(&planning.listed);
    *ret = planning.plan;
    return status;
}

int sr_plan_make(struct sr_target *target, const struct sr_plan_wish *wish, struct sr_plan **ret,
                 struct sr_err *err)
{
    return sr_plan_make_with((struct sr_targets){&target, 1}, wish, ret, err);
}

void sr_plan_free(struct sr_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; i < plan->full_opened; i++) {
        sr_manifest_free(plan->full[i]);
    }
    for (size_t i = 0; i < plan->changes_opened; i++) {
        sr_manifest_free(plan->changes[i]);
    }
    for (size_t i = 0; i < plan->note_count; i++) {
        sr_free(plan->notes[i]);
    }
    sr_free(plan->full);
    sr_free(plan->changes);
    sr_free(plan->steps);
    sr_free(plan);
}

const struct sr_manifest *sr_plan_base(const struct sr_plan *plan)
{
    return plan->step_count > 0 ? plan->steps[0] : NULL;
}

const struct sr_manifest *sr_plan_last(const struct sr_plan *plan)
{
    return plan->step_count > 0 ? plan->steps[plan->step_count - 1] : NULL;
}

bool sr_plan_stops_within(const struct sr_plan *plan)
{
    const struct sr_manifest *last = sr_plan_last(plan);
    return (plan->until_revision != 0 && last->said->until_revision > plan->until_revision) ||
           (plan->until_ms != 0 && sr_plan_time(last) > plan->until_ms);
}

bool sr_plan_opens(const struct sr_manifest *manifest, const struct sr_recovery_public *key)
{
    const Strongroom__Manifest *said = manifest->said;
    for (size_t i = 0; i < said->n_recovery_key_ids; i++) {
        if (said->recovery_key_ids[i].len == SR_KEY_ID_BYTES &&
            memcmp(said->recovery_key_ids[i].data, key->id, SR_KEY_ID_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

static void id_text(const uint8_t id[SR_KEY_ID_BYTES], char out[2 * SR_KEY_ID_BYTES + 1])
{
    snprintf(out, 2 * SR_KEY_ID_BYTES + 1, "%016" PRIx64, sr_get_u64(id));
}

int sr_plan_check_key(const struct sr_plan *plan, const struct sr_recovery_public *key,
                      struct sr_err *err)
{
    char own[2 * SR_KEY_ID_BYTES + 1];
    char others[SR_RECOVERY_KEYS_MAX * (2 * SR_KEY_ID_BYTES + 2)] = "";
    for (size_t i = 0; i < plan->step_count; i++) {
        const Strongroom__Manifest *said = plan->steps[i]->said;
        if (sr_plan_opens(plan->steps[i], key)) {
            continue;
        }
        for (size_t k = 0; k < said->n_recovery_key_ids && k < SR_RECOVERY_KEYS_MAX; k++) {
            char one[2 * SR_KEY_ID_BYTES + 1];
            id_text(said->recovery_key_ids[k].data, one);
            snprintf(others + strlen(others), sizeof(others) - strlen(others), " %s", one);
        }
        id_text(key->id, own);
        return sr_err_set(err, SR_KEY, "%s is not sealed for recovery key %s, but for%s",
                          said->object, own, others[0] == '\0' ? " none" : others);
    }
    return SR_OK;
}
