/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a node: one YAML file, read once at start. deploy/strongroom.yaml
 * documents every field; an unknown or ill-typed one is refused with file, line and field.
 */
#ifndef SR_NODE_CONFIG_CONFIG_H
#define SR_NODE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "node/config/offsite.h"
#include "proto/limits.h"

struct sr_config_tls {
    char *certificate;
    char *private_key;
    char *ca;
};

struct sr_config_member {
    char *name; /* [a-z0-9-], at most 63; the DNS name in its peer certificate */
    char *zone; /* mandatory, same alphabet */
    char *peer_address;
    char **client_urls; /* https://host:port */
    unsigned client_urls_count;
    uint64_t id; /* derived: first 8 bytes of SHA-256 over cluster name and member name */
};

struct sr_config {
    char *name; /* of this node: one of cluster.members */
    char *data_dir;
    char *kek_file;
    struct {
        char *name;
        struct sr_config_member *members;
        unsigned members_count;
        /* NULL: this node is born with the cluster. */
        struct sr_config_join {
            char **peers; /* host:port of members */
            unsigned peers_count;
            char *token_file; /* NULL: none is needed */
        } * join;
        bool joined; /* members and id are those that the cluster told (node/cluster/join.h) */
        char **preferred_zones; /* where the leader is wanted, the best first */
        unsigned preferred_zones_count;
        unsigned zones_min;        /* how many zones the cluster is to be able to lose; default 1 */
        unsigned replica_check_ms; /* default 60000 */
        unsigned feature_level;    /* default SR_FEATURE_LEVEL */
        uint64_t id;               /* derived: SHA-256 over its name and the members' names */
    } cluster;
    struct {
        char *listen;
        struct sr_config_tls tls;
        unsigned loops;              /* 0: as many as cores, at most 8 */
        unsigned connections_max;    /* default SR_CONNECTIONS_MAX */
        unsigned request_timeout_ms; /* default SR_REQUEST_TIMEOUT_MS + 2 election timeouts */
        unsigned drain_timeout_ms;   /* default 10000 */
    } client;
    struct {
        char *listen;
        struct sr_config_tls tls;
        unsigned election_timeout_ms; /* default 1000 */
        unsigned tick_ms;             /* default 50 */
    } peer;
    struct {
        char *listen;
        struct sr_config_tls *tls; /* NULL: plain HTTP, on a loopback address only */
    } admin;
    struct {
        uint64_t map_bytes;
        uint64_t memtable_entries;
        uint64_t unindexed_entries;
        uint64_t memtable_bytes;
        uint64_t disk_reserve_bytes; /* default 256 MiB */
        uint64_t log_segment_bytes;  /* default 16 MiB */
        uint64_t log_keep_bytes;     /* default 1 GiB */
        uint64_t log_keep_entries;   /* default 2,000,000; 0: no bound */
    } storage;
    struct {
        uint64_t bytes_per_second; /* of images sent to members that are far behind; 0: no limit */
    } image;
    struct sr_config_offsite *offsite; /* NULL: nothing is shipped */
    struct {
        enum sr_log_level level;
        enum sr_log_format format;
    } log;
};

/* Read and validate @path. SR_NOT_FOUND, SR_INVALID: "<file>:<line>: <field>: <reason>". */
int sr_config_load(const char *path, struct sr_config **ret, struct sr_err *err);
void sr_config_free(struct sr_config *config); /* NULL is fine */
/* Replace cluster.members by @members (taken over), which has this node's own entry as it was. */
void sr_config_set_members(struct sr_config *config, struct sr_config_member *members,
                           unsigned count);
/* How many client loops to run: client.loops, or else as many as there are cores; at most @max. */
unsigned sr_config_client_loops(const struct sr_config *config, unsigned max);
/* This node's own entry. */
const struct sr_config_member *sr_config_self(const struct sr_config *config);

#endif
