/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory of the first member of a new cluster, around a state that the caller makes:
 * of a survivor (recover.h), or of archives (node/restore).
 *
 *   begin: identity, keyring, directories ──► the caller: state ──► end: log, one rename
 *
 * Everything is made in a directory for what is unfinished, beside the place where it is to be, so
 * that a failure or a crash leaves nothing there.
 */
#ifndef SR_NODE_RECOVER_BIRTH_H
#define SR_NODE_RECOVER_BIRTH_H

#include <limits.h>

#include "base/buf.h"
#include "node/config/config.h"
#include "node/datadir.h"
#include "proto/cluster.pb-c.h"
#include "storage/image.h"
#include "storage/store.h"

struct sr_birth {
    struct sr_config *config;
    char place[PATH_MAX]; /* where it is to be */
    char path[PATH_MAX];  /* where it is made */
    uint64_t cluster_id;  /* drawn */
    uint64_t member_id;   /* likewise */
    struct sr_datadir dir;
    struct sr_buf configuration; /* this member alone votes, as libraft packs it */
    struct sr_buf record;        /* packed; empty: the first leader makes it */
};

/* Whether @place can be taken: it is missing, or an empty directory. SR_EXISTS, SR_IO. */
int sr_birth_check_place(const char *place, struct sr_err *err);
/* Begin in @work/new, which must not exist, on the file system of config->data_dir. @before: what
 * the old cluster knew of itself; NULL: nothing is known of it. Ids, members and data_dir of
 * @config are replaced. To be closed in any case. */
int sr_birth_begin(struct sr_birth *birth, struct sr_config *config, const char *work,
                   const Strongroom__ClusterRecord *before, struct sr_err *err);
/* What a writer of the state is to be opened with. */
struct sr_image_writer_options sr_birth_writer_options(const struct sr_birth *birth);
/* The state is there: put a log behind it, and all of it into place. @ret_point: what the node
 * will start from; its configuration is not told. */
int sr_birth_end(struct sr_birth *birth, struct sr_store_point *ret_point, struct sr_err *err);
/* What is unfinished stays in @work. */
void sr_birth_close(struct sr_birth *birth);

#endif
