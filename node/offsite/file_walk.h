/* SPDX-License-Identifier: Apache-2.0
 *
 * The files below a directory, by the names that objects have. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_FILE_WALK_H
#define SR_NODE_OFFSITE_FILE_WALK_H

#include <stddef.h>

#include "base/err.h"

struct sr_file_names {
    char **names;
    size_t count;
    size_t capacity;
};

/* Add the names of all files below @dir that begin with @prefix, in the order of strcmp. What has
 * no valid name is passed over, what vanishes meanwhile too. @names is zero-initialised; close it
 * in any case. */
int sr_file_walk(const char *dir, const char *prefix, struct sr_file_names *names,
                 struct sr_err *err);
void sr_file_names_close(struct sr_file_names *names);

#endif
