/* SPDX-License-Identifier: Apache-2.0
 *
 * What a manifest says of an object's bytes: SHA-256 over all, and one over each group of 8 MiB, by
 * which a download that was cut is taken up again.
 */
#ifndef SR_STORAGE_ARCHIVE_DIGEST_H
#define SR_STORAGE_ARCHIVE_DIGEST_H

#include "storage/archive.h"

#define SR_ARCHIVE_GROUP_BYTES  ((size_t)8 * 1024 * 1024)
#define SR_ARCHIVE_DIGEST_BYTES 32

struct sr_archive_digest;

/* @next: where to pass the bytes on to; NULL: nowhere. Borrowed. */
struct sr_archive_digest *sr_archive_digest_new(const struct sr_archive_sink *next);
void sr_archive_digest_free(struct sr_archive_digest *digest); /* NULL is fine */
/* The sink to write to: counts, hashes, passes on. Valid until free. */
const struct sr_archive_sink *sr_archive_digest_sink(struct sr_archive_digest *digest);

struct sr_archive_digests {
    uint64_t bytes;
    uint8_t sha256[SR_ARCHIVE_DIGEST_BYTES];
    const uint8_t *groups; /* @group_count times SR_ARCHIVE_DIGEST_BYTES; the last may be short */
    size_t group_count;
};
/* At the end, once; @ret points into @digest. SR_CRYPTO. */
int sr_archive_digest_end(struct sr_archive_digest *digest, struct sr_archive_digests *ret,
                          struct sr_err *err);

#endif
