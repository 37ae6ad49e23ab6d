/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests of a target, by their names. They are fetched several at a time, a batch ahead, and
 * judged one after the other:
 *
 *   names ──► a batch, fetched on all targets ──► each, in order: refused, left out, or taken ──►
 * ...
 *
 * A failure to fetch ends a batch, but is told when it is the turn of that manifest: one before it
 * that is refused comes first, as if they had been fetched one by one.
 */
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/restore/plan_internal.h"
#include "storage/signed.h"

/* For each target: so that the others have something to do while one waits. */
#define BATCH_PER_TARGET ((size_t)16)
#define BATCH_MAX        ((size_t)256)
/* A manifest of changes has some hundred bytes, one of a snapshot 34 more for each 8 MiB. Beyond
 * this, one that is as large as any can be is fetched when it is its turn. */
#define BATCH_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* What came of fetching one. */
struct fetched {
    bool is_done; /* otherwise it was not its turn, or there was no room */
    int status;
    struct sr_err err;
    uint8_t *data;
    size_t size;
};

struct batch {
    const struct sr_planning *planning;
    const struct sr_object_parts *list;
    struct fetched *fetched; /* of each of list */
    size_t count;
    atomic_size_t bytes; /* of all that is fetched */
};

/* Whether @status is about what the object holds, so that others may still be good. */
static bool is_refusal(int status)
{
    return status == SR_CORRUPT || status == SR_REFUSED || status == SR_FORMAT;
}

static bool is_left_out(const struct sr_plan_wish *wish, const struct sr_object_parts *parts)
{
    for (size_t i = 0; wish->salvage && i < wish->without_count; i++) {
        if (wish->without[i].kind == parts->kind && wish->without[i].sequence == parts->sequence) {
            return true;
        }
    }
    return false;
}

static void name_of(const struct sr_object_parts *parts, char out[SR_OBJECT_NAME_BYTES_MAX])
{
    sr_object_name(parts->cluster_id, parts->kind, parts->sequence, parts->revision,
                   SR_OBJECT_MANIFEST, out);
}

/* ---- One ---- */

static void fetch(struct sr_target *target, const struct sr_object_parts *parts,
                  struct fetched *fetched)
{
    char name[SR_OBJECT_NAME_BYTES_MAX];
    name_of(parts, name);
    fetched->status = sr_target_get_bytes(target, name, SR_SIGNED_BYTES_MAX, &fetched->data,
                                          &fetched->size, &fetched->err);
    fetched->is_done = true;
}

static int open_fetched(const struct sr_planning *planning, const struct sr_object_parts *parts,
                        const char *name, const struct fetched *fetched, struct sr_manifest **ret,
                        struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    struct sr_manifest_expect expect = {.name = name,
                                        .cluster_id = parts->cluster_id,
                                        .target = wish->target,
                                        .public_key = wish->public_key,
                                        .fingerprint = wish->signed_by};
    return sr_manifest_open((struct sr_bytes){fetched->data, fetched->size}, &expect, ret, err);
}

static int judge(struct sr_planning *planning, const struct sr_object_parts *parts,
                 const struct fetched *fetched, struct sr_manifest **ret, struct sr_err *err)
{
    char name[SR_OBJECT_NAME_BYTES_MAX];
    struct sr_err local = {0};
    int status = fetched->status;
    name_of(parts, name);
    if (status == SR_NOT_FOUND) { /* pruned meanwhile; that one is missing, the chain tells */
        return SR_OK;
    }
    if (status == SR_LIMIT) {
        status = sr_err_set(&local, SR_CORRUPT, "manifest %s: edited: it is larger than any", name);
    } else if (status != SR_OK) { /* a server that says no has said nothing about the manifest */
        return sr_err_set(err, status, "%s", fetched->err.text);
    } else {
        status = open_fetched(planning, parts, name, fetched, ret, &local);
    }
    if (planning->wish->salvage && is_refusal(status)) {
        sr_plan_note(planning->plan, "left out: %s", local.text);
        planning->plan->left_out++;
        return SR_OK;
    }
    return status == SR_OK ? SR_OK : sr_err_set(err, status, "%s", local.text);
}

/* With what is fetched of it, if it is; that is released. */
static int open_one(struct sr_planning *planning, const struct sr_object_parts *parts,
                    struct fetched *fetched, struct sr_manifest **ret, struct sr_err *err)
{
    if (is_left_out(planning->wish, parts)) {
        char name[SR_OBJECT_NAME_BYTES_MAX];
        name_of(parts, name);
        sr_plan_note(planning->plan, "left out: what belongs to %s is damaged", name);
        return SR_OK;
    }
    if (!fetched->is_done) {
        fetch(planning->target, parts, fetched);
    }
    int status = judge(planning, parts, fetched, ret, err);
    sr_free(fetched->data);
    fetched->data = NULL;
    return status;
}

int sr_plan_open(struct sr_planning *planning, const struct sr_object_parts *parts,
                 struct sr_manifest **ret, struct sr_err *err)
{
    struct fetched fetched = {0};
    return open_one(planning, parts, &fetched, ret, err);
}

/* ---- Many ---- */

/* One thread of several. What fails lets no further ones begin, if it ends the plan. */
static int fetch_ahead(void *arg, struct sr_target *target, size_t index, struct sr_err *err)
{
    struct batch *batch = arg;
    struct fetched *fetched = &batch->fetched[index];
    if (is_left_out(batch->planning->wish, &batch->list[index]) ||
        atomic_load(&batch->bytes) > BATCH_BYTES_MAX) {
        return SR_OK;
    }
    fetch(target, &batch->list[index], fetched);
    atomic_fetch_add(&batch->bytes, fetched->size);
    return fetched->status == SR_OK || fetched->status == SR_NOT_FOUND ||
                   fetched->status == SR_LIMIT
               ? SR_OK
               : sr_err_set(err, fetched->status, "%s", fetched->err.text);
}

static size_t batch_max(const struct sr_planning *planning)
{
    size_t count = planning->targets.count * BATCH_PER_TARGET;
    return planning->targets.count == 1 ? 1 : count < BATCH_MAX ? count : BATCH_MAX;
}

/* Whether changes of this name are the last that are needed, if their name is true. */
static bool may_be_last(const struct sr_plan_wish *wish, const struct sr_object_parts *parts)
{
    return parts->kind == SR_ARCHIVE_CHANGES && wish->revision != 0 &&
           parts->revision >= wish->revision;
}

static size_t batch_size(const struct sr_planning *planning, const struct sr_object_parts *list,
                         size_t count)
{
    size_t max = batch_max(planning);
    size_t size = 1;
    while (size < count && size < max && !may_be_last(planning->wish, &list[size - 1])) {
        size++;
    }
    return size;
}

static int take_batch(struct batch *batch, struct sr_planning *planning, sr_plan_take_cb take,
                      bool *ret_enough, struct sr_err *err)
{
    int status = SR_OK;
    for (size_t i = 0; status == SR_OK && !*ret_enough && i < batch->count; i++) {
        struct sr_manifest *manifest = NULL;
        status = open_one(planning, &batch->list[i], &batch->fetched[i], &manifest, err);
        if (manifest != NULL) {
            *ret_enough = !take(planning, manifest);
        }
    }
    return status;
}

static int open_batch(struct sr_planning *planning, const struct sr_object_parts *list,
                      size_t count, sr_plan_take_cb take, bool *ret_enough, struct sr_err *err)
{
    struct batch batch = {.planning = planning,
                          .list = list,
                          .count = count,
                          .fetched = sr_calloc(count, sizeof(struct fetched))};
    struct sr_many many = {.targets = planning->targets, .call = fetch_ahead, .arg = &batch};
    (void)sr_many_run(&many, count, NULL, NULL); /* take_batch comes upon what has failed */
    int status = take_batch(&batch, planning, take, ret_enough, err);
    for (size_t i = 0; i < count; i++) {
        sr_free(batch.fetched[i].data);
    }
    sr_free(batch.fetched);
    return status;
}

int sr_plan_open_each(struct sr_planning *planning, const struct sr_object_parts *list,
                      size_t count, sr_plan_take_cb take, struct sr_err *err)
{
    bool enough = false;
    int status = SR_OK;
    for (size_t at = 0, size; status == SR_OK && !enough && at < count; at += size) {
        size = batch_size(planning, list + at, count - at);
        status = open_batch(planning, list + at, size, take, &enough, err);
    }
    return status;
}
