/* SPDX-License-Identifier: Apache-2.0 */
#include "node/config/validate.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/limits.h"
#include "proto/member.h"

/* ---- Names ---- */

static int check_name(const struct sr_config_source *source, const char *path, const char *text,
                      struct sr_err *err)
{
    if (sr_is_name(text)) {
        return SR_OK;
    }
    return sr_config_refuse(source, err, path,
                            "must be 1 to %d of a-z, 0-9 and '-', the first and last not '-'",
                            SR_NAME_BYTES_MAX);
}

/* ---- Addresses ---- */

static int check_address(const struct sr_config_source *source, const char *path, const char *text,
                         struct sr_err *err)
{
    if (sr_is_address(text)) {
        return SR_OK;
    }
    return sr_config_refuse(source, err, path,
                            "must be host:port or [address]:port, the port from 1 to 65535");
}

static bool is_loopback(const char *address)
{
    char host[SR_HOST_BYTES_MAX + 1];
    if (!sr_split_address(address, host)) {
        return false;
    }
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    struct in6_addr v6;
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcmp(host, "localhost") == 0;
}

static int check_url(const struct sr_config_source *source, const char *path, const char *text,
                     struct sr_err *err)
{
    if (sr_is_client_url(text)) {
        return SR_OK;
    }
    return sr_config_refuse(source, err, path, "must be https://host:port, without a path");
}

/* ---- Files ---- */

/* Relative ones would depend on where the daemon was started. */
static int check_path(const struct sr_config_source *source, const char *path, const char *text,
                      struct sr_err *err)
{
    return text[0] == '/' ? SR_OK : sr_config_refuse(source, err, path, "must be an absolute path");
}

static int check_tls(const struct sr_config_source *source, const char *section,
                     const struct sr_config_tls *tls, struct sr_err *err)
{
    const struct {
        const char *field;
        const char *value;
    } files[] = {
        {"certificate", tls->certificate}, {"private_key", tls->private_key}, {"ca", tls->ca}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[SR_CONFIG_PATH_MAX];
        snprintf(path, sizeof(path), "%s.tls.%s", section, files[i].field);
        if (check_path(source, path, files[i].value, err) != SR_OK) {
            return SR_INVALID;
        }
    }
    return SR_OK;
}

/* ---- Members ---- */

static const char *member_path(char *out, size_t size, unsigned i, const char *field)
{
    snprintf(out, size, "cluster.members[%u].%s", i, field);
    return out;
}

static int check_unique(const struct sr_config_source *source, const struct sr_config *config,
                        unsigned i, struct sr_err *err)
{
    const struct sr_config_member *member = &config->cluster.members[i];
    char path[SR_CONFIG_PATH_MAX];
    for (unsigned j = 0; j < i; j++) {
        const struct sr_config_member *other = &config->cluster.members[j];
        if (strcmp(member->name, other->name) == 0) {
            return sr_config_refuse(source, err, member_path(path, sizeof(path), i, "name"),
                                    "\"%s\" is already cluster.members[%u]", member->name, j);
        }
        if (strcmp(member->peer_address, other->peer_address) == 0) {
            return sr_config_refuse(source, err, member_path(path, sizeof(path), i, "peer_address"),
                                    "\"%s\" is already that of cluster.members[%u]",
                                    member->peer_address, j);
        }
        if (member->id == other->id || member->id == 0) {
            return sr_config_refuse(source, err, member_path(path, sizeof(path), i, "name"),
                                    "its id is already taken: choose another name");
        }
    }
    return SR_OK;
}

static int check_member(const struct sr_config_source *source, const struct sr_config *config,
                        unsigned i, struct sr_err *err)
{
    const struct sr_config_member *member = &config->cluster.members[i];
    char path[SR_CONFIG_PATH_MAX];
    if (check_name(source, member_path(path, sizeof(path), i, "name"), member->name, err) ||
        check_name(source, member_path(path, sizeof(path), i, "zone"), member->zone, err) ||
        check_address(source, member_path(path, sizeof(path), i, "peer_address"),
                      member->peer_address, err)) {
        return SR_INVALID;
    }
    for (unsigned k = 0; k < member->client_urls_count; k++) {
        snprintf(path, sizeof(path), "cluster.members[%u].client_urls[%u]", i, k);
        if (check_url(source, path, member->client_urls[k], err) != SR_OK) {
            return SR_INVALID;
        }
    }
    return check_unique(source, config, i, err);
}

/* The others are told by those who are asked. */
static int check_join(const struct sr_config_source *source, const struct sr_config *config,
                      struct sr_err *err)
{
    const struct sr_config_join *join = config->cluster.join;
    if (config->cluster.members_count != 1) {
        return sr_config_refuse(source, err, "cluster.members",
                                "must be this node alone when it is to join");
    }
    for (unsigned i = 0; i < join->peers_count; i++) {
        char path[SR_CONFIG_PATH_MAX];
        snprintf(path, sizeof(path), "cluster.join.peers[%u]", i);
        if (check_address(source, path, join->peers[i], err) != SR_OK) {
            return SR_INVALID;
        }
    }
    return join->token_file == NULL
               ? SR_OK
               : check_path(source, "cluster.join.token_file", join->token_file, err);
}

static int check_preferred_zones(const struct sr_config_source *source,
                                 const struct sr_config *config, struct sr_err *err)
{
    for (unsigned i = 0; i < config->cluster.preferred_zones_count; i++) {
        char path[SR_CONFIG_PATH_MAX];
        snprintf(path, sizeof(path), "cluster.preferred_zones[%u]", i);
        if (check_name(source, path, config->cluster.preferred_zones[i], err) != SR_OK) {
            return SR_INVALID;
        }
    }
    return SR_OK;
}

static int check_cluster(const struct sr_config_source *source, const struct sr_config *config,
                         struct sr_err *err)
{
    if (check_name(source, "cluster.name", config->cluster.name, err) != SR_OK) {
        return SR_INVALID;
    }
    bool found = false;
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        if (check_member(source, config, i, err) != SR_OK) {
            return SR_INVALID;
        }
        found = found || strcmp(config->cluster.members[i].name, config->name) == 0;
    }
    if (!found) {
        return sr_config_refuse(source, err, "name", "\"%s\" is none of cluster.members",
                                config->name);
    }
    if (check_preferred_zones(source, config, err) != SR_OK) {
        return SR_INVALID;
    }
    return config->cluster.join == NULL ? SR_OK : check_join(source, config, err);
}

/* ---- All of it ---- */

static int check_ports(const struct sr_config_source *source, const struct sr_config *config,
                       struct sr_err *err)
{
    if (check_address(source, "client.listen", config->client.listen, err) ||
        check_address(source, "peer.listen", config->peer.listen, err) ||
        check_address(source, "admin.listen", config->admin.listen, err) ||
        check_tls(source, "client", &config->client.tls, err) ||
        check_tls(source, "peer", &config->peer.tls, err)) {
        return SR_INVALID;
    }
    if (config->admin.tls != NULL) {
        return check_tls(source, "admin", config->admin.tls, err);
    }
    if (!is_loopback(config->admin.listen)) {
        return sr_config_refuse(source, err, "admin.listen",
                                "\"%s\" is not a loopback address, so admin.tls is required",
                                config->admin.listen);
    }
    return SR_OK;
}

int sr_config_validate(const struct sr_config_source *source, const struct sr_config *config,
                       struct sr_err *err)
{
    if (check_name(source, "name", config->name, err) ||
        check_path(source, "data_dir", config->data_dir, err) ||
        check_path(source, "kek_file", config->kek_file, err) ||
        check_cluster(source, config, err) || check_ports(source, config, err)) {
        return SR_INVALID;
    }
    if (config->offsite != NULL &&
        sr_config_validate_offsite(source, config->offsite, err) != SR_OK) {
        return SR_INVALID;
    }
    if (config->peer.tick_ms * 3 > config->peer.election_timeout_ms) {
        return sr_config_refuse(source, err, "peer.tick_ms",
                                "%u is more than a third of peer.election_timeout_ms (%u)",
                                config->peer.tick_ms, config->peer.election_timeout_ms);
    }
    if (config->image.bytes_per_second != 0 && config->image.bytes_per_second < SR_IMAGE_RATE_MIN) {
        return sr_config_refuse(source, err, "image.bytes_per_second",
                                "%" PRIu64 " is too slow for any image to arrive: at least %d, "
                                "or 0 for no limit",
                                config->image.bytes_per_second, SR_IMAGE_RATE_MIN);
    }
    return SR_OK;
}
