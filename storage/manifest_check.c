/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests against archives, and against each other.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/manifest.h"

/* ---- Against an archive ---- */

static int swapped(const struct sr_manifest *manifest, struct sr_err *err, const char *what)
{
    return sr_err_set(err, SR_REFUSED, "swapped: %s is not the archive of its manifest: %s",
                      manifest->said->object, what);
}

int sr_manifest_check_header(const struct sr_manifest *manifest,
                             const struct sr_archive_header *header, struct sr_err *err)
{
    const Strongroom__Manifest *said = manifest->said;
    if (header->cluster_id != said->cluster_id) {
        return swapped(manifest, err, "it is of another cluster");
    }
    if ((uint32_t)header->kind != said->kind) {
        return swapped(manifest, err, "it is of another kind");
    }
    if (memcmp(header->id, said->archive_id.data, SR_ARCHIVE_ID_BYTES) != 0) {
        return swapped(manifest, err, "it has another id");
    }
    if (header->since != said->since_revision || header->revision != said->until_revision ||
        header->index != said->index || header->term != said->term) {
        return swapped(manifest, err, "it is of another point");
    }
    return SR_OK;
}

int sr_manifest_check_info(const struct sr_manifest *manifest, const struct sr_archive_info *info,
                           struct sr_err *err)
{
    const Strongroom__Manifest *said = manifest->said;
    int rc = sr_manifest_check_header(manifest, &info->header, err);
    if (rc != SR_OK) {
        return rc;
    }
    if (memcmp(info->content, said->content_hash.data, SR_IMAGE_HASH_BYTES) != 0 ||
        info->versions != said->versions) {
        return swapped(manifest, err, "it has another content");
    }
    if (said->state_hash.len > 0 &&
        memcmp(info->state_hash, said->state_hash.data, said->state_hash.len) != 0) {
        return swapped(manifest, err, "it has another state hash");
    }
    return SR_OK;
}

int sr_manifest_check_object(const struct sr_manifest *manifest, uint64_t size,
                             const uint8_t sha256[SR_MANIFEST_HASH_BYTES], struct sr_err *err)
{
    const Strongroom__Manifest *said = manifest->said;
    if (size < said->size) {
        return sr_err_set(err, SR_CORRUPT,
                          "truncated: %s has %" PRIu64 " bytes, its manifest says %" PRIu64,
                          said->object, size, said->size);
    }
    if (size > said->size || memcmp(sha256, said->sha256.data, SR_MANIFEST_HASH_BYTES) != 0) {
        return sr_err_set(err, SR_CORRUPT,
                          "edited: %s has another digest or size than its manifest says",
                          said->object);
    }
    return SR_OK;
}

/* ---- Against each other ---- */

struct chain {
    struct sr_manifest **list; /* by sequence */
    size_t count;
    bool *member; /* of each: whether it is on the chain */
    struct sr_manifest_chain result;
};

static int by_sequence(const void *a, const void *b)
{
    uint64_t left = (*(struct sr_manifest *const *)a)->said->sequence;
    uint64_t right = (*(struct sr_manifest *const *)b)->said->sequence;
    return (left > right) - (left < right);
}

/* Its place in the list; @count when it is not there. */
static size_t find(const struct chain *chain, uint64_t sequence)
{
    size_t low = 0;
    size_t high = chain->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (chain->list[middle]->said->sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < chain->count && chain->list[low]->said->sequence == sequence ? low : chain->count;
}

static int check_family(const struct chain *chain, struct sr_err *err)
{
    const struct sr_manifest *newest = chain->list[chain->count - 1];
    for (size_t i = 0; i + 1 < chain->count; i++) {
        const struct sr_manifest *one = chain->list[i];
        if (one->said->cluster_id != newest->said->cluster_id ||
            strcmp(one->said->target, newest->said->target) != 0 ||
            one->said->kind != newest->said->kind) {
            return sr_err_set(err, SR_REFUSED,
                              "foreign: %s and %s are not of one cluster, target and kind",
                              one->said->object, newest->said->object);
        }
        if (memcmp(one->public_key, newest->public_key, SR_SIGNING_BYTES) != 0) {
            return sr_err_set(err, SR_REFUSED, "foreign: %s and %s are signed by different keys",
                              one->said->object, newest->said->object);
        }
        if (one->said->sequence == chain->list[i + 1]->said->sequence) {
            return sr_err_set(err, SR_REFUSED,
                              "swapped: there are two manifests of sequence %" PRIu64,
                              one->said->sequence);
        }
    }
    return SR_OK;
}

/* @at is what @link of @from names: it must be just that. */
static int follow(struct chain *chain, const struct sr_manifest *from,
                  const Strongroom__ManifestLink *link, size_t at, struct sr_err *err)
{
    const struct sr_manifest *to = chain->list[at];
    if (memcmp(to->sha256, link->sha256.data, SR_MANIFEST_HASH_BYTES) != 0) {
        return sr_err_set(err, SR_CORRUPT,
                          "reordered: manifest %" PRIu64 " follows another manifest %" PRIu64
                          " than the one that is there",
                          from->said->sequence, link->sequence);
    }
    if (to->said->until_revision > from->said->until_revision) {
        return sr_err_set(err, SR_CORRUPT,
                          "reordered: manifest %" PRIu64 " ends at an earlier revision than "
                          "manifest %" PRIu64 ", which it follows",
                          from->said->sequence, link->sequence);
    }
    chain->member[at] = true;
    return SR_OK;
}

static void note_missing(struct chain *chain, uint64_t sequence)
{
    chain->result.missing++;
    if (sequence > chain->result.missing_sequence) {
        chain->result.missing_sequence = sequence;
    }
}

/* What @link names is not there. It was pruned, with all that are older; unless some of these are
 * there, although it was when the newest was made. Older ones than that are what pruning left. */
static int miss(struct chain *chain, const Strongroom__ManifestLink *link, struct sr_err *err)
{
    uint64_t oldest = chain->list[chain->count - 1]->said->oldest_sequence;
    if (oldest != 0 && link->sequence < oldest) {
        return SR_OK;
    }
    if (chain->list[0]->said->sequence < link->sequence) {
        return sr_err_set(err, SR_CORRUPT,
                          "truncated: changes %" PRIu64 " are missing, although there are "
                          "older and newer ones",
                          link->sequence);
    }
    if (oldest != 0) {
        note_missing(chain, link->sequence);
    }
    return SR_OK;
}

/* From the newest one back, until one is the first of all, or its predecessor was pruned. */
static int walk_changes(struct chain *chain, struct sr_err *err)
{
    size_t at = chain->count - 1;
    while (chain->list[at]->said->previous != NULL) {
        const struct sr_manifest *from = chain->list[at];
        const Strongroom__ManifestLink *link = from->said->previous;
        size_t before = find(chain, link->sequence);
        if (before == chain->count) {
            return miss(chain, link, err);
        }
        int rc = follow(chain, from, link, before, err);
        if (rc != SR_OK) {
            return rc;
        }
        at = before;
    }
    return SR_OK;
}

static int visit(struct chain *chain, const Strongroom__ManifestLink *link, struct sr_err *err)
{
    size_t at = find(chain, link->sequence);
    if (at == chain->count) {
        note_missing(chain, link->sequence);
        return SR_OK;
    }
    return follow(chain, chain->list[chain->count - 1], link, at, err);
}

static int walk_full(struct chain *chain, struct sr_err *err)
{
    const Strongroom__Manifest *newest = chain->list[chain->count - 1]->said;
    int rc = newest->previous != NULL ? visit(chain, newest->previous, err) : SR_OK;
    for (size_t i = 0; rc == SR_OK && i < newest->n_kept; i++) {
        rc = visit(chain, newest->kept[i], err);
    }
    return rc;
}

/* Those on the chain in front, both parts in order. */
static void partition(struct chain *chain)
{
    struct sr_manifest **others = sr_calloc(chain->count, sizeof(*others));
    size_t kept = 0;
    size_t left = 0;
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->member[i]) {
            chain->list[kept++] = chain->list[i];
        } else {
            others[left++] = chain->list[i];
        }
    }
    memcpy(chain->list + kept, others, left * sizeof(*others));
    chain->result.count = kept;
    sr_free(others);
}

int sr_manifest_chain_check(struct sr_manifest **list, size_t count, struct sr_manifest_chain *ret,
                            struct sr_err *err)
{
    struct chain chain = {.list = list, .count = count};
    if (count == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "there is no manifest");
    }
    qsort(list, count, sizeof(*list), by_sequence);
    int rc = check_family(&chain, err);
    if (rc != SR_OK) {
        return rc;
    }
    chain.member = sr_calloc(count, sizeof(*chain.member));
    chain.member[count - 1] = true;
    rc = list[count - 1]->said->kind == SR_ARCHIVE_FULL ? walk_full(&chain, err)
                                                        : walk_changes(&chain, err);
    if (rc == SR_OK) {
        partition(&chain);
        *ret = chain.result;
    }
    sr_free(chain.member);
    return rc;
}
