/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/manifest.h"

#define SEQUENCE_MAX UINT64_C(9999999999) /* ten digits, so that names sort as numbers do */

static const char *folder_of(enum sr_archive_kind kind)
{
    return kind == SR_ARCHIVE_FULL ? "snapshots" : "changes";
}

void sr_object_prefix(uint64_t cluster_id, enum sr_archive_kind kind,
                      char ret_prefix[SR_OBJECT_NAME_BYTES_MAX])
{
    (void)snprintf(ret_prefix, SR_OBJECT_NAME_BYTES_MAX, "%016" PRIx64 "/%s/", cluster_id,
                   folder_of(kind));
}

void sr_object_name(uint64_t cluster_id, enum sr_archive_kind kind, uint64_t sequence,
                    int64_t revision, enum sr_object_type type,
                    char ret_name[SR_OBJECT_NAME_BYTES_MAX])
{
    (void)snprintf(ret_name, SR_OBJECT_NAME_BYTES_MAX,
                   "%016" PRIx64 "/%s/%010" PRIu64 "-%" PRId64 ".%s", cluster_id, folder_of(kind),
                   sequence, revision, type == SR_OBJECT_ARCHIVE ? "sra" : "srm");
}

void sr_proof_name(uint64_t cluster_id, uint64_t sequence, char ret_name[SR_OBJECT_NAME_BYTES_MAX])
{
    (void)snprintf(ret_name, SR_OBJECT_NAME_BYTES_MAX, "%016" PRIx64 "/proofs/%010" PRIu64 ".srp",
                   cluster_id, sequence);
}

/* Liberal: whether it is exactly right is seen by making the name again. */
bool sr_object_parse(const char *name, struct sr_object_parts *ret)
{
    struct sr_object_parts parts = {0};
    char again[SR_OBJECT_NAME_BYTES_MAX];
    const char *folder = strchr(name, '/');
    const char *file = folder != NULL ? strchr(folder + 1, '/') : NULL;
    const char *revision = file != NULL ? strchr(file, '-') : NULL;
    const char *type = revision != NULL ? strchr(revision, '.') : NULL;
    if (type == NULL || strlen(name) >= sizeof(again)) {
        return false;
    }
    parts.cluster_id = strtoull(name, NULL, 16);
    parts.kind = strncmp(folder, "/snapshots/", 11) == 0 ? SR_ARCHIVE_FULL : SR_ARCHIVE_CHANGES;
    parts.sequence = strtoull(file + 1, NULL, 10);
    parts.revision = strtoll(revision + 1, NULL, 10);
    parts.type = strcmp(type, ".sra") == 0 ? SR_OBJECT_ARCHIVE : SR_OBJECT_MANIFEST;
    sr_object_name(parts.cluster_id, parts.kind, parts.sequence, parts.revision, parts.type, again);
    if (strcmp(name, again) != 0 || parts.sequence == 0 || parts.sequence > SEQUENCE_MAX ||
        parts.revision < 1) {
        return false;
    }
    *ret = parts;
    return true;
}
