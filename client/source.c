/* SPDX-License-Identifier: Apache-2.0 */
#include "client/source.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/config/offsite.h"
#include "storage/archive_key.h"

const char source_help[] =
    "  --from URL               s3://BUCKET/PREFIX or file:///DIR\n"
    "  --target NAME            instead: a target of offsite.targets in the configuration\n"
    "  --endpoint URL, --region NAME, --ca-file FILE, --credentials-file FILE, --profile NAME,\n"
    "  --proxy URL, --virtual-host\n"
    "                           of S3, where the configuration does not say. Credentials are "
    "taken\n"
    "                           from the environment, as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY\n"
    "                           and AWS_SESSION_TOKEN, when no file is named\n"
    "  --cluster ID             which cluster, where several have shipped to one place\n"
    "  --signed-by FINGERPRINT  refuse what another cluster's key has signed. Without it, compare\n"
    "                           the fingerprint that is printed\n";

/* ---- Options ---- */

static int refuse(const struct source *source, const char *option, const char *value,
                  const char *what)
{
    fprintf(stderr, "strongroom %s: --%s %s: %s\n", source->command, option, value, what);
    return -1;
}

static int take_cluster(struct source *source, const char *value)
{
    char *end = NULL;
    errno = 0;
    unsigned long long id = strtoull(value, &end, 16);
    if (errno != 0 || *end != '\0' || strlen(value) != 16 || id == 0 ||
        strspn(value, "0123456789abcdefABCDEF") != 16) {
        return refuse(source, "cluster", value, "16 hexadecimal digits are wanted");
    }
    source->cluster_id = id;
    return 1;
}

int source_take(struct source *source, int option, const char *value)
{
    switch (option) {
    case SOURCE_FROM:
        source->flags.url = value;
        return 1;
    case SOURCE_TARGET:
        source->target = value;
        return 1;
    case SOURCE_ENDPOINT:
        source->flags.endpoint = value;
        return 1;
    case SOURCE_REGION:
        source->flags.region = value;
        return 1;
    case SOURCE_CA_FILE:
        source->flags.ca_file = value;
        return 1;
    case SOURCE_CREDENTIALS_FILE:
        source->flags.credentials_file = value;
        return 1;
    case SOURCE_PROFILE:
        source->flags.profile = value;
        return 1;
    case SOURCE_PROXY:
        source->flags.proxy = value;
        return 1;
    case SOURCE_VIRTUAL_HOST:
        source->flags.virtual_host = true;
        return 1;
    case SOURCE_CLUSTER:
        return take_cluster(source, value);
    case SOURCE_SIGNED_BY:
        if (!sr_is_fingerprint(value)) {
            return refuse(source, "signed-by", value,
                          "SHA256: and 64 hexadecimal digits are wanted");
        }
        source->signed_by = value;
        return 1;
    default:
        return 0;
    }
}

/* ---- The target ---- */

static bool same_url(const char *a, const char *b)
{
    size_t size_a = strlen(a);
    size_t size_b = strlen(b);
    while (size_a > 0 && a[size_a - 1] == '/') {
        size_a--;
    }
    while (size_b > 0 && b[size_b - 1] == '/') {
        size_b--;
    }
    return size_a == size_b && memcmp(a, b, size_a) == 0;
}

/* That of the configuration which is meant; NULL: none. */
static const struct sr_config_target *find(const struct source *source,
                                           const struct sr_config *config)
{
    const struct sr_config_offsite *offsite = config != NULL ? config->offsite : NULL;
    for (unsigned i = 0; offsite != NULL && i < offsite->targets_count; i++) {
        const struct sr_config_target *target = &offsite->targets[i];
        if (source->target != NULL ? strcmp(target->name, source->target) == 0
                                   : same_url(target->url, source->flags.url)) {
            return target;
        }
    }
    return NULL;
}

static void overlay(const struct sr_target_config *flags, struct sr_target_config *config)
{
    config->url = flags->url != NULL ? flags->url : config->url;
    config->endpoint = flags->endpoint != NULL ? flags->endpoint : config->endpoint;
    config->region = flags->region != NULL ? flags->region : config->region;
    config->ca_file = flags->ca_file != NULL ? flags->ca_file : config->ca_file;
    config->proxy = flags->proxy != NULL ? flags->proxy : config->proxy;
    config->virtual_host = flags->virtual_host || config->virtual_host;
    if (flags->credentials_file != NULL) {
        config->credentials_file = flags->credentials_file;
        config->credentials_command = NULL;
        config->profile = NULL;
    }
    config->profile = flags->profile != NULL ? flags->profile : config->profile;
}

/* What is to be opened, by the command line and the configuration. */
static int describe(const struct source *source, const struct sr_config *config,
                    struct sr_target_config *ret, struct sr_err *err)
{
    const struct sr_config_target *found = NULL;
    if ((source->target == NULL) == (source->flags.url == NULL)) {
        return sr_err_set(err, SR_INVALID, "either --from URL or --target NAME is needed");
    }
    found = find(source, config);
    if (found == NULL && source->target != NULL) {
        return sr_err_set(err, SR_INVALID, "the configuration has no offsite target %s",
                          source->target);
    }
    if (found != NULL) {
        *ret = sr_config_target_of(config->offsite, found);
        /* Residency is about where archives are put. */
        ret->regions_allowed = NULL;
        ret->regions_allowed_count = 0;
        ret->bytes_per_second = source->at_full_speed ? 0 : ret->bytes_per_second;
    }
    overlay(&source->flags, ret);
    return SR_OK;
}

int source_open_all(const struct source *source, const struct sr_config *config,
                    struct sr_target **list, size_t count, struct sr_err *err)
{
    struct sr_target_config target = {0};
    size_t opened = 0;
    int status = describe(source, config, &target, err);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGPIPE, &ignore, NULL);
    while (status == SR_OK && opened < count) {
        status = sr_target_open(&target, &list[opened], err);
        opened += status == SR_OK ? 1 : 0;
    }
    while (status != SR_OK && opened > 0) {
        sr_target_close(list[--opened]);
        list[opened] = NULL;
    }
    return status;
}

int source_open(const struct source *source, const struct sr_config *config, struct sr_target **ret,
                struct sr_err *err)
{
    return source_open_all(source, config, ret, 1, err);
}

void source_wish(const struct source *source, struct sr_plan_wish *wish)
{
    wish->cluster_id = source->cluster_id;
    wish->signed_by = source->signed_by;
}
