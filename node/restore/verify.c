/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/restore/plan_internal.h"
#include "node/restore/verify_archive.h"

#define SLICE ((size_t)4096)

struct verifying {
    const struct sr_verify *verify;
    struct sr_verified *verified;
    struct sr_planning planning;
    struct sr_plan_wish wish;
    struct sr_manifest **list; /* that is looked at now */
    size_t count;              /* that are opened */
    int64_t reach;             /* the highest revision of all manifests */
    pthread_mutex_t lock;      /* counters, and each, while archives are read */
};

static void note_fault(struct verifying *verifying, const char *text)
{
    verifying->verified->faults++;
    sr_plan_note(verifying->planning.plan, "%s", text);
}

/* ---- Archives ---- */

static bool is_fault(int status)
{
    return status == SR_CORRUPT || status == SR_REFUSED || status == SR_NOT_FOUND ||
           status == SR_FORMAT || status == SR_KEY; /* not what its manifest says of its keys */
}

/* Whether it was pruned since its manifest was read. */
static bool is_gone(struct sr_target *target, const struct sr_manifest *manifest)
{
    const Strongroom__Manifest *said = manifest->said;
    struct sr_target_object object;
    struct sr_err ignored = {0};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_name(said->cluster_id, (enum sr_archive_kind)said->kind, said->sequence,
                   said->until_revision, SR_OBJECT_MANIFEST, name);
    return sr_target_head(target, name, &object, &ignored) == SR_NOT_FOUND;
}

static void count(struct verifying *verifying, const struct sr_manifest *manifest, bool looked_into,
                  const char *fault)
{
    struct sr_verified *verified = verifying->verified;
    const Strongroom__Manifest *said = manifest->said;
    pthread_mutex_lock(&verifying->lock);
    if (fault != NULL) {
        verified->faults++;
    } else {
        verified->snapshots += said->kind == SR_ARCHIVE_FULL ? 1 : 0;
        verified->changes += said->kind == SR_ARCHIVE_CHANGES ? 1 : 0;
        verified->bytes += said->size;
        verified->versions += looked_into ? said->versions : 0;
        verified->closed += looked_into || verifying->verify->key == NULL ? 0 : 1;
    }
    if (verifying->verify->each != NULL) {
        verifying->verify->each(verifying->verify->arg, manifest, fault);
    }
    pthread_mutex_unlock(&verifying->lock);
}

/* On any of the threads. What is at fault is counted, and the others are looked at all the same. */
static int look(void *arg, struct sr_target *target, size_t index, struct sr_err *err)
{
    struct verifying *verifying = arg;
    const struct sr_verify *verify = verifying->verify;
    const struct sr_manifest *manifest = verifying->list[index];
    const struct sr_recovery_private *key = verify->key;
    struct sr_err local = {0};
    if (key != NULL && !sr_plan_opens(manifest, &key->public_half)) {
        key = NULL;
    }
    int status = sr_verify_archive(target, manifest, key, verify->stopping, &local);
    if (status == SR_NOT_FOUND && is_gone(target, manifest)) {
        return SR_OK;
    }
    if (status != SR_OK && !is_fault(status)) {
        return sr_err_set(err, status, "%s: %s", manifest->said->object, local.text);
    }
    count(verifying, manifest, key != NULL, status == SR_OK ? NULL : local.text);
    return SR_OK;
}

static int look_at_each(struct verifying *verifying, size_t number, struct sr_err *err)
{
    const struct sr_many many = {.targets = verifying->verify->targets,
                                 .stopping = verifying->verify->stopping,
                                 .call = look,
                                 .arg = verifying};
    return sr_many_run(&many, number, NULL, err);
}

/* ---- Manifests ---- */

static bool take(struct sr_planning *planning, struct sr_manifest *manifest)
{
    struct verifying *verifying =
        (struct verifying *)(void *)((char *)planning - offsetof(struct verifying, planning));
    verifying->list[verifying->count++] = manifest;
    if (manifest->said->until_revision > verifying->reach) {
        verifying->reach = manifest->said->until_revision;
    }
    return true;
}

/* Those of @parts, @number of them, behind those that are in the list. */
static int open_manifests(struct verifying *verifying, const struct sr_object_parts *parts,
                          size_t number, struct sr_err *err)
{
    return sr_plan_open_each(&verifying->planning, parts, number, take, err);
}

static void close_manifests(struct verifying *verifying, size_t from)
{
    while (verifying->count > from) {
        sr_manifest_free(verifying->list[--verifying->count]);
    }
}

/* Of a chain, which one key has signed: it is also that of the snapshots. */
static void check_signer(struct verifying *verifying)
{
    struct sr_plan *plan = verifying->planning.plan;
    char by[SR_FINGERPRINT_CHARS + 1];
    char text[SR_ERR_TEXT_MAX];
    sr_fingerprint(verifying->list[0]->public_key, by);
    if (plan->fingerprint[0] == 0) {
        memcpy(plan->fingerprint, by, sizeof(by));
    } else if (strcmp(plan->fingerprint, by) != 0) {
        (void)snprintf(text, sizeof(text), "foreign: %s is signed by %s, and not as the snapshots",
                       verifying->list[0]->said->object, by);
        note_fault(verifying, text);
    }
}

/* Those on the chain come to the front: *ret_count. All of them, if it is broken. @is_oldest: there
 * are none before them that would not be missing. */
static void chain(struct verifying *verifying, bool is_oldest, size_t *ret_count)
{
    struct sr_manifest_chain found = {0};
    struct sr_err err = {0};
    *ret_count = verifying->count;
    int status = sr_manifest_chain_check(verifying->list, verifying->count, &found, &err);
    if (status == SR_NOT_FOUND) {
        return;
    }
    if (status != SR_OK) {
        note_fault(verifying, err.text);
        return;
    }
    *ret_count = found.count;
    check_signer(verifying);
    if (is_oldest) {
        sr_plan_note_missing(verifying->planning.plan,
                             (enum sr_archive_kind)verifying->list[0]->said->kind, &found);
    }
}

/* ---- All of it ---- */

static int verify_snapshots(struct verifying *verifying, struct sr_err *err)
{
    struct sr_planning *planning = &verifying->planning;
    size_t number = 0;
    verifying->list = sr_calloc(planning->full_count + 1, sizeof(struct sr_manifest *));
    int status = open_manifests(verifying, planning->full, planning->full_count, err);
    if (status == SR_OK) {
        chain(verifying, true, &number);
        status = look_at_each(verifying, number, err);
    }
    close_manifests(verifying, 0);
    sr_free(verifying->list);
    verifying->list = NULL;
    return status;
}

/* The oldest on the chain stays, as the newest of what comes next: it says what is before it. It
 * has been looked at. */
static void keep_oldest(struct verifying *verifying, size_t number)
{
    size_t oldest = 0;
    for (size_t i = 1; i < number; i++) {
        if (verifying->list[i]->said->sequence < verifying->list[oldest]->said->sequence) {
            oldest = i;
        }
    }
    struct sr_manifest *kept = verifying->list[oldest];
    verifying->list[oldest] = verifying->list[0];
    verifying->list[0] = kept;
    close_manifests(verifying, 1);
}

/* Of those on the chain, @kept has been looked at. */
static void leave_out(struct verifying *verifying, const struct sr_manifest *kept, size_t *number)
{
    for (size_t i = 0; kept != NULL && i < *number; i++) {
        if (verifying->list[i] == kept) {
            struct sr_manifest *last = verifying->list[--*number];
            verifying->list[*number] = verifying->list[i];
            verifying->list[i] = last;
            return;
        }
    }
}

static int verify_changes(struct verifying *verifying, struct sr_err *err)
{
    struct sr_planning *planning = &verifying->planning;
    size_t slice_max = verifying->verify->slice == 0 ? SLICE : verifying->verify->slice;
    size_t left = planning->changes_count;
    int status = SR_OK;
    verifying->list = sr_calloc(slice_max + 1, sizeof(struct sr_manifest *));
    while (status == SR_OK && left > 0) {
        const struct sr_manifest *kept = verifying->count > 0 ? verifying->list[0] : NULL;
        size_t slice = left < slice_max ? left : slice_max;
        size_t number = 0;
        left -= slice;
        status = open_manifests(verifying, planning->changes + left, slice, err);
        if (status == SR_OK && verifying->count > 0) {
            chain(verifying, left == 0, &number);
            size_t fresh = number;
            leave_out(verifying, kept, &fresh);
            status = look_at_each(verifying, fresh, err);
            keep_oldest(verifying, number);
        }
    }
    close_manifests(verifying, 0);
    sr_free(verifying->list);
    verifying->list = NULL;
    return status;
}

static void check_age(struct verifying *verifying)
{
    char text[SR_ERR_TEXT_MAX];
    int64_t known = verifying->verify->wish.revision_min;
    if (verifying->reach < known) {
        (void)snprintf(text, sizeof(text),
                       "stale: all that is there ends at revision %lld, and %lld is known to have "
                       "been shipped",
                       (long long)verifying->reach, (long long)known);
        note_fault(verifying, text);
    }
}

int sr_verify_all(const struct sr_verify *verify, struct sr_verified *ret, struct sr_err *err)
{
    struct verifying verifying = {.verify = verify,
                                  .verified = ret,
                                  .wish = {.cluster_id = verify->wish.cluster_id,
                                           .signed_by = verify->wish.signed_by,
                                           .target = verify->wish.target,
                                           .salvage = true},
                                  .lock = PTHREAD_MUTEX_INITIALIZER};
    *ret = (struct sr_verified){.plan = sr_zalloc(sizeof(struct sr_plan))};
    verifying.planning = (struct sr_planning){.targets = verify->targets,
                                              .target = verify->targets.list[0],
                                              .wish = &verifying.wish,
                                              .plan = ret->plan};
    int status = sr_plan_list(&verifying.planning, err);
    if (status == SR_OK) {
        status = verify_snapshots(&verifying, err);
    }
    if (status == SR_OK) {
        status = verify_changes(&verifying, err);
    }
    if (status == SR_OK) {
        check_age(&verifying);
    }
    ret->faults += ret->plan->left_out;
    sr_buf_close(&verifying.planning.listed);
    pthread_mutex_destroy(&verifying.lock);
    return status;
}
