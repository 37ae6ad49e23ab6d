/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a staged state. Inside storage/ only.
 */
#ifndef SR_STORAGE_STAGED_IMPL_H
#define SR_STORAGE_STAGED_IMPL_H

#include <openssl/evp.h>

#include "storage/archive_check.h"
#include "storage/changes_format.h"
#include "storage/image_writer_impl.h"
#include "storage/staged.h"
#include "storage/statehash.h"

enum sr_staged_phase {
    SR_STAGED_EMPTY,   /* a full archive is to come */
    SR_STAGED_FULL,    /* in it */
    SR_STAGED_READY,   /* between archives */
    SR_STAGED_CHANGES, /* in changes */
    SR_STAGED_FAILED
};

struct sr_staged {
    struct sr_staged_options options;
    struct sr_buf configuration;
    struct sr_buf record;
    struct sr_image_rebirth rebirth;
    struct sr_image_writer *writer;
    enum sr_staged_phase phase;
    struct sr_archive_check check; /* of the archive that is being put */

    /* What is there. */
    struct sr_state state; /* index, term, compact revision: of the last archive that is whole */
    uint32_t next_sub;     /* with state.revision: the next version to take */
    uint64_t versions;
    uint64_t requests;
    uint64_t time_ms;
    bool original;   /* state.hash is what the old cluster had */
    EVP_MD_CTX *sum; /* over all versions, as they were put */

    /* Of the changes that are being put. */
    struct sr_changes_info changes;
    struct sr_archive_mark mark;
    int64_t base;   /* what was there before */
    bool stopped;   /* at the bound; stays */
    bool link_open; /* the hash of the last revision is being made */
    bool added;     /* whether there was anything in them that was new */
    struct sr_statehash *hash;

    struct sr_hold hold;
    bool held;
};

/* staged_changes.c: the next chunk of changes. */
int sr_staged_put_changes(struct sr_staged *staged, const struct sr_image_chunk *chunk,
                          struct sr_err *err);
int sr_staged_end_changes(struct sr_staged *staged, struct sr_err *err);
/* Add @size bytes of packed versions to the sum. SR_CRYPTO. */
int sr_staged_sum(struct sr_staged *staged, const void *data, size_t size, struct sr_err *err);

/* staged_verify.c: read back all versions that are on disk and compare, then all that an image
 * would be made of. SR_CORRUPT, SR_CLOSED. */
int sr_staged_verify(struct sr_staged *staged, struct sr_err *err);

#endif
