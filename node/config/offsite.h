/* SPDX-License-Identifier: Apache-2.0
 *
 * The section "offsite" of a node's configuration: where archives go, when, and how long they stay.
 * deploy/strongroom.yaml documents every field.
 */
#ifndef SR_NODE_CONFIG_OFFSITE_H
#define SR_NODE_CONFIG_OFFSITE_H

#include <stdbool.h>
#include <stdint.h>

#include "node/offsite/target.h"
#include "proto/limits.h"

#define SR_OFFSITE_TIMES_MAX   24
#define SR_OFFSITE_REGIONS_MAX 32

struct sr_config_target {
    char *name; /* [a-z0-9-], at most 63: what the record, metrics and people call it */
    char *url;
    char *region;   /* this and what follows: see struct sr_target_config */
    char *endpoint; /* NULL wherever nothing was said */
    bool virtual_host;
    char *credentials_file;
    char *credentials_command;
    char *profile;
    char *storage_class;
    enum sr_target_sse sse;
    char *sse_kms_key;
    enum sr_target_lock lock;
    unsigned lock_days;
    bool checksum_sha256;
    char *proxy;
    char *ca_file;
    unsigned parts_parallel;
    uint64_t part_bytes;
    uint64_t bytes_per_second; /* 0: no limit */
    unsigned connect_timeout_ms;
    unsigned stall_timeout_ms;
    unsigned attempts;
};

struct sr_config_offsite {
    struct sr_config_target *targets;
    unsigned targets_count;
    char **recovery_keys; /* files with public halves */
    unsigned recovery_keys_count;
    char **regions_allowed;
    unsigned regions_allowed_count;
    char **times; /* "HH:MM", UTC; ascending; none: every_ms counts */
    unsigned times_count;
    uint64_t every_ms;  /* 0: times count; default: five a day */
    uint64_t spread_ms; /* by how much, at most, the times are moved */
    uint64_t changes_every_ms;
    uint64_t claim_timeout_ms;
    bool drill; /* this cluster's nodes restore what they ship, to see that it can be */
    uint64_t drill_every_ms; /* of a target, at most so often */
    struct {
        unsigned last;
        unsigned daily;
        unsigned monthly;
        unsigned yearly;
        unsigned changes_days;
    } retention;
};

/* What to open target @from with; texts are borrowed from the configuration. */
struct sr_target_config sr_config_target_of(const struct sr_config_offsite *offsite,
                                            const struct sr_config_target *from);

/* "HH:MM" as seconds after midnight; -1: it is not such a text. */
int sr_config_time_of_day(const char *text);

#endif
