/* SPDX-License-Identifier: Apache-2.0
 *
 * A new cluster of one member, made of what is left of an old one (decision 0012).
 *
 *   survivors ──copies──► the best one ──its log applied──► image ──► a new data directory
 *                                                                     new cluster id, one voter
 *
 * Everything is made in DATA_DIR.recovering and moved into place by one rename at the end.
 */
#ifndef SR_NODE_RECOVER_RECOVER_H
#define SR_NODE_RECOVER_RECOVER_H

#include "node/config/config.h"
#include "node/recover/survivor.h"

/* Signs that a member of the old cluster is alive: files of a survivor that changed in the last
 * minute, an address of a member, of the record or of @config, that answers. @say is called with a
 * sentence for each. Returns how many there are. */
size_t sr_recover_signs_of_life(const struct sr_config *config, const struct sr_survivor *survivors,
                                size_t count, void (*say)(const char *text));

struct sr_recovered {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t index;
    int64_t revision;
};

/* Make the data directory of @config, which must be missing or empty, from @survivor, whose log is
 * applied. @work: a directory for what is unfinished, on the same file system. The ids of @config
 * are replaced. SR_EXISTS, and what storage may say. */
int sr_recover_make(struct sr_config *config, struct sr_survivor *survivor, const char *work,
                    struct sr_recovered *ret, struct sr_err *err);

#endif
