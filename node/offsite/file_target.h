/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory as a target: what its parts share. Inside node/offsite only.
 *
 *   file_target.c  opens, reads, lists, removes
 *   file_put.c     puts
 *   file_walk.c    reads directories
 */
#ifndef SR_NODE_OFFSITE_FILE_TARGET_H
#define SR_NODE_OFFSITE_FILE_TARGET_H

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "node/offsite/pace.h"
#include "node/offsite/target_impl.h"

/* What a put is called until it is complete. */
#define SR_FILE_INCOMING       ".incoming-"
#define SR_FILE_TRANSFER_BYTES ((size_t)256 * 1024)

struct sr_file_target {
    struct sr_target base;
    char dir[PATH_MAX];
    struct sr_pace pace;
};

static inline struct sr_file_target *sr_file_target_of(struct sr_target *target)
{
    return (struct sr_file_target *)target;
}

/* What an errno of somebody else's file system means. */
int sr_file_meaning(int number);
#define sr_file_fail(err, ...) sr_err_errno(err, sr_file_meaning(errno), errno, __VA_ARGS__)

/* SR_CLOSED when it is. */
int sr_file_check_cancelled(const struct sr_target *target, struct sr_err *err);
/* SR_INVALID when it is too long. */
int sr_file_path(const struct sr_target *target, const char *name, char out[PATH_MAX],
                 struct sr_err *err);
int sr_file_is_directory(const char *path, struct sr_err *err);
int sr_file_sync_directory(const char *path, struct sr_err *err);
void sr_file_describe(const char *name, const struct stat *info, struct sr_target_object *ret);

int sr_file_put_begin(struct sr_target *target, const char *name,
                      const struct sr_target_put_options *options, struct sr_target_put **ret,
                      struct sr_err *err);
int sr_file_put_write(struct sr_target_put *base, const void *data, size_t size,
                      struct sr_err *err);
int sr_file_put_finish(struct sr_target_put *base, struct sr_target_object *ret,
                       struct sr_err *err);
void sr_file_put_abort(struct sr_target_put *base);

#endif
