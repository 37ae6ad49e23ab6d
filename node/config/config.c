/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading, in order: the text and where each field stands (source.c), numbers (numbers.c), the
 * schema (schema.c), defaults and ids, and what has to fit together (validate.c).
 */
#include "node/config/config.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "node/config/schema.h"
#include "node/config/validate.h"

/* ---- Ids ---- */

/* The first 8 bytes of SHA-256 over @text: stable over restarts and equal on all nodes. */
static uint64_t id_of(const struct sr_buf *text)
{
    uint8_t digest[32];
    sr_check(EVP_Digest(text->data, text->size, digest, NULL, EVP_sha256(), NULL) == 1);
    return sr_get_u64(digest);
}

/* With its final 0, which no name contains: no two lists of names give the same text. */
static void append_name(struct sr_buf *text, const char *name)
{
    sr_buf_append(text, name, strlen(name) + 1);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void derive_ids(struct sr_config *config)
{
    const char *names[SR_MEMBERS_MAX];
    unsigned count = config->cluster.members_count;
    struct sr_buf text = {0};
    for (unsigned i = 0; i < count; i++) {
        struct sr_config_member *member = &config->cluster.members[i];
        names[i] = member->name;
        sr_buf_clear(&text);
        append_name(&text, config->cluster.name);
        append_name(&text, member->name);
        member->id = id_of(&text);
    }
    /* Sorted: the order in the file means nothing. */
    qsort(names, count, sizeof(names[0]), compare_names);
    sr_buf_clear(&text);
    append_name(&text, config->cluster.name);
    for (unsigned i = 0; i < count; i++) {
        append_name(&text, names[i]);
    }
    config->cluster.id = id_of(&text);
    sr_buf_close(&text);
}

/* ---- Loading ---- */

static int load(const struct sr_config_source *source, struct sr_config **ret, struct sr_err *err)
{
    if (sr_config_check_numbers(source, err) != SR_OK) {
        return SR_INVALID;
    }
    struct sr_config *config = NULL;
    int status = sr_config_schema_load(source, &config, err);
    if (status != SR_OK) {
        return status;
    }
    sr_config_apply_defaults(source, config);
    derive_ids(config);
    status = sr_config_validate(source, config, err);
    if (status != SR_OK) {
        sr_config_free(config);
        return status;
    }
    *ret = config;
    return SR_OK;
}

int sr_config_load(const char *path, struct sr_config **ret, struct sr_err *err)
{
    struct sr_config_source source;
    int status = sr_config_source_open(&source, path, err);
    if (status == SR_OK) {
        status = load(&source, ret, err);
    }
    sr_config_source_close(&source);
    return status;
}

void sr_config_free(struct sr_config *config)
{
    sr_config_schema_free(config);
}

static void free_member(struct sr_config_member *member)
{
    for (unsigned i = 0; i < member->client_urls_count; i++) {
        sr_free(member->client_urls[i]);
    }
    sr_free(member->client_urls);
    sr_free(member->name);
    sr_free(member->zone);
    sr_free(member->peer_address);
}

void sr_config_set_members(struct sr_config *config, struct sr_config_member *members,
                           unsigned count)
{
    const struct sr_config_member *own = sr_config_self(config);
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        if (&config->cluster.members[i] != own) {
            free_member(&config->cluster.members[i]);
        }
    }
    sr_free(config->cluster.members);
    config->cluster.members = members;
    config->cluster.members_count = count;
}

unsigned sr_config_client_loops(const struct sr_config *config, unsigned max)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = config->client.loops != 0 ? config->client.loops : (unsigned)cores;
    return count < 1 ? 1 : count > max ? max : count;
}

const struct sr_config_member *sr_config_self(const struct sr_config *config)
{
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        if (strcmp(config->cluster.members[i].name, config->name) == 0) {
            return &config->cluster.members[i];
        }
    }
    sr_check_failed("a valid configuration has its own node", __FILE__, __LINE__);
}
