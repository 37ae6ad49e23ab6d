/* SPDX-License-Identifier: Apache-2.0
 *
 * What is on a target, by names, which tell cluster, kind, sequence and revision; and how what they
 * stand for follows each other.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/restore/plan_internal.h"

/* A month of changes each five seconds is half a million. */
#define LISTED_MAX ((size_t)8 * 1000 * 1000)

void sr_plan_note(struct sr_plan *plan, const char *format, ...)
{
    char text[SR_ERR_TEXT_MAX];
    va_list args;
    if (plan->note_count == SR_PLAN_NOTES_MAX) {
        plan->notes_lost++;
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    plan->notes[plan->note_count++] = sr_strdup(text);
}

/* ---- Names ---- */

static struct sr_object_parts *listed(const struct sr_planning *planning, size_t *ret_count)
{
    *ret_count = planning->listed.size / sizeof(struct sr_object_parts);
    return (struct sr_object_parts *)(void *)planning->listed.data;
}

static int take_name(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    struct sr_planning *planning = arg;
    struct sr_object_parts parts = {0};
    if (planning->listed.size >= LISTED_MAX * sizeof(parts)) {
        return sr_err_set(err, SR_LIMIT, "%s: there are more than %zu manifests",
                          sr_target_title(planning->target), LISTED_MAX);
    }
    if (sr_object_parse(object->name, &parts) && parts.type == SR_OBJECT_MANIFEST) {
        sr_buf_append(&planning->listed, &parts, sizeof(parts));
    }
    return SR_OK;
}

/* By cluster, kind (changes first), sequence. */
static int by_place(const void *a, const void *b)
{
    const struct sr_object_parts *left = a;
    const struct sr_object_parts *right = b;
    if (left->cluster_id != right->cluster_id) {
        return left->cluster_id < right->cluster_id ? -1 : 1;
    }
    if (left->kind != right->kind) {
        return left->kind < right->kind ? -1 : 1;
    }
    if (left->sequence != right->sequence) {
        return left->sequence < right->sequence ? -1 : 1;
    }
    return (left->revision > right->revision) - (left->revision < right->revision);
}

static void count_clusters(struct sr_planning *planning)
{
    struct sr_plan *plan = planning->plan;
    size_t count = 0;
    const struct sr_object_parts *list = listed(planning, &count);
    struct sr_plan_cluster *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (last == NULL || last->id != list[i].cluster_id) {
            if (plan->cluster_count == SR_PLAN_CLUSTERS_MAX) {
                sr_plan_note(plan, "there are more than %d clusters", SR_PLAN_CLUSTERS_MAX);
                return;
            }
            last = &plan->clusters[plan->cluster_count++];
            *last = (struct sr_plan_cluster){.id = list[i].cluster_id};
        }
        last->snapshots += list[i].kind == SR_ARCHIVE_FULL ? 1 : 0;
        last->changes += list[i].kind == SR_ARCHIVE_CHANGES ? 1 : 0;
        if (list[i].revision > last->newest_revision) {
            last->newest_revision = list[i].revision;
        }
    }
}

static int choose_cluster(struct sr_planning *planning, struct sr_err *err)
{
    const struct sr_plan_wish *wish = planning->wish;
    struct sr_plan *plan = planning->plan;
    const char *title = sr_target_title(planning->target);
    if (plan->cluster_count == 0 && wish->cluster_id != 0) {
        return sr_err_set(err, SR_NOT_FOUND, "%s: there is nothing of cluster %016" PRIx64, title,
                          wish->cluster_id);
    }
    if (plan->cluster_count == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "%s: there is nothing that a cluster has shipped",
                          title);
    }
    if (plan->cluster_count > 1) {
        return sr_err_set(err, SR_INVALID, "%s: there are %zu clusters: say which one is meant",
                          title, plan->cluster_count);
    }
    plan->cluster_id = plan->clusters[0].id;
    return SR_OK;
}

int sr_plan_list(struct sr_planning *planning, struct sr_err *err)
{
    char prefix[24] = "";
    size_t count = 0;
    if (planning->wish->cluster_id != 0) {
        snprintf(prefix, sizeof(prefix), "%016" PRIx64 "/", planning->wish->cluster_id);
    }
    int status = sr_target_list(planning->target, prefix, take_name, planning, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_object_parts *list = listed(planning, &count);
    if (count > 0) {
        qsort(list, count, sizeof(*list), by_place);
    }
    count_clusters(planning);
    status = choose_cluster(planning, err);
    if (status == SR_OK) {
        const struct sr_plan_cluster *cluster = &planning->plan->clusters[0];
        planning->changes = list;
        planning->changes_count = cluster->changes;
        planning->full = list + cluster->changes;
        planning->full_count = cluster->snapshots;
        sr_check(planning->changes_count + planning->full_count == count);
    }
    return status;
}

/* ---- The chain ---- */

void sr_plan_note_missing(struct sr_plan *plan, enum sr_archive_kind kind,
                          const struct sr_manifest_chain *chain)
{
    if (chain->missing > 0) {
        sr_plan_note(plan,
                     "%zu of %s %s named by the newest one %s not there any more, the newest of "
                     "them %" PRIu64 ": pruned since, or taken away",
                     chain->missing, kind == SR_ARCHIVE_FULL ? "snapshot" : "changes",
                     chain->missing == 1 ? "that is" : "that are",
                     chain->missing == 1 ? "is" : "are", chain->missing_sequence);
    }
}

int sr_plan_chain(struct sr_planning *planning, struct sr_manifest **list, size_t count,
                  bool has_older, size_t *ret_count, struct sr_err *err)
{
    struct sr_manifest_chain chain = {0};
    struct sr_err local = {0};
    struct sr_plan *plan = planning->plan;
    int status = sr_manifest_chain_check(list, count, &chain, &local);
    if (status == SR_CORRUPT && planning->wish->salvage) {
        sr_plan_note(plan, "%s: each of them is taken for itself", local.text);
        *ret_count = count;
        return SR_OK;
    }
    if (status != SR_OK) {
        return sr_err_set(err, status, "%s: %s", sr_target_title(planning->target), local.text);
    }
    if (!has_older) {
        sr_plan_note_missing(plan, (enum sr_archive_kind)list[0]->said->kind, &chain);
    }
    for (size_t i = chain.count; i < count; i++) {
        sr_plan_note(plan, "%s is not used: another member has shipped in its place",
                     list[i]->said->object);
    }
    *ret_count = chain.count;
    return SR_OK;
}
