/* SPDX-License-Identifier: Apache-2.0
 *
 * What kinds of targets have in common, and what they do each in their own way. target.c checks
 * names, states and options once; behind the table they are known to be right. Inside node/offsite
 * only.
 */
#ifndef SR_NODE_OFFSITE_TARGET_IMPL_H
#define SR_NODE_OFFSITE_TARGET_IMPL_H

#include <stdatomic.h>

#include "node/offsite/target.h"

struct sr_target_put {
    struct sr_target *target;
    char name[SR_TARGET_NAME_MAX];
    struct sr_target_put_options options;
    uint64_t size; /* so far */
    bool failed;   /* only abort is left */
};

/* As the functions of target.h. Errors come without the prefix of title and operation. A put is
 * freed by its kind, which embeds the struct. */
struct sr_target_kind {
    void (*close)(struct sr_target *target);
    void (*wake)(struct sr_target *target); /* any thread: cancelled is set */
    int (*probe)(struct sr_target *target, struct sr_err *err);
    int (*put_begin)(struct sr_target *target, const char *name,
                     const struct sr_target_put_options *options, struct sr_target_put **ret,
                     struct sr_err *err);
    int (*put_write)(struct sr_target_put *put, const void *data, size_t size, struct sr_err *err);
    int (*put_finish)(struct sr_target_put *put, struct sr_target_object *ret, struct sr_err *err);
    void (*put_abort)(struct sr_target_put *put);
    int (*get)(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
               sr_target_take_cb take, void *arg, struct sr_err *err);
    int (*head)(struct sr_target *target, const char *name, struct sr_target_object *ret,
                struct sr_err *err);
    int (*list)(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
                struct sr_err *err);
    int (*remove)(struct sr_target *target, const char *name, struct sr_err *err);
    int (*clean)(struct sr_target *target, const char *prefix, uint64_t before_ms,
                 uint64_t *ret_count, struct sr_err *err);
};

struct sr_target {
    const struct sr_target_kind *kind;
    char title[SR_TARGET_TITLE_MAX];
    char region[64];
    bool can_lock;
    bool putting;
    atomic_bool cancelled;
    struct sr_target_stats stats;
    atomic_ullong moved_bytes;
};

/* Whether @name is of the form that target.h describes. */
bool sr_target_name_is_valid(const char *name);

/* @config is of that kind, its residency checked; @target has title and region. They fill
 * *@ret with an object that embeds a struct sr_target as its first member. */
int sr_target_open_file(const struct sr_target_config *config, struct sr_target **ret,
                        struct sr_err *err);
int sr_target_open_s3(const struct sr_target_config *config, struct sr_target **ret,
                      struct sr_err *err);

#endif
