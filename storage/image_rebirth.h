/* SPDX-License-Identifier: Apache-2.0
 *
 * An image of one cluster that becomes the first state of another: for what a cluster leaves behind
 * that has lost its majority (decision 0012). Everything is taken over but who the members are, and
 * what was shipped off-site: a new cluster has a secret and archives of its own (decision 0018).
 */
#ifndef SR_STORAGE_IMAGE_REBIRTH_H
#define SR_STORAGE_IMAGE_REBIRTH_H

#include <string.h>

#include "storage/image.h"
#include "storage/image_format.h"

struct sr_image_rebirth {
    uint64_t from_cluster_id;
    struct sr_bytes configuration; /* of the new cluster, in libraft's packing; borrowed */
    struct sr_bytes record;        /* its packed cluster record; empty: the first leader makes it */
};

/* As sr_image_writer_open, for a directory that is empty; @rebirth must outlive the writer. The
 * cluster id of @options is the new one. */
int sr_image_writer_open_rebirth(const struct sr_image_writer_options *options,
                                 const struct sr_image_rebirth *rebirth,
                                 struct sr_image_writer **ret, struct sr_err *err);

/* Make the header of the image that of the new state. */
static inline void sr_image_rebirth_header(const struct sr_image_rebirth *rebirth,
                                           uint64_t cluster_id, struct sr_image_header *header)
{
    struct sr_state *state = &header->state;

    header->cluster_id = cluster_id;
    header->record = rebirth->record;
    header->offsite = (struct sr_bytes){0};
    header->offsite_secret = (struct sr_bytes){0};
    state->configuration_index = state->applied_index;
    state->configuration_size = (uint16_t)rebirth->configuration.size;
    memset(state->configuration, 0, sizeof(state->configuration));
    memcpy(state->configuration, rebirth->configuration.data, rebirth->configuration.size);
}

#endif
