/* SPDX-License-Identifier: Apache-2.0 */
#include "node/founders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

static int compare_ids(const void *a, const void *b)
{
    uint64_t first = (*(const struct sr_config_member *const *)a)->id;
    uint64_t second = (*(const struct sr_config_member *const *)b)->id;
    return first < second ? -1 : first > second;
}

unsigned sr_founders_sort(const struct sr_config *config,
                          const struct sr_config_member *sorted[SR_MEMBERS_MAX])
{
    unsigned count = config->cluster.members_count;
    sr_check(count <= SR_MEMBERS_MAX);
    for (unsigned i = 0; i < count; i++) {
        sorted[i] = &config->cluster.members[i];
    }
    qsort(sorted, count, sizeof(sorted[0]), compare_ids);
    return count;
}

void sr_founders_describe(const struct sr_config *config, struct sr_founders *ret)
{
    const struct sr_config_member *sorted[SR_MEMBERS_MAX];
    unsigned count = sr_founders_sort(config, sorted);
    for (unsigned i = 0; i < count; i++) {
        const struct sr_config_member *member = sorted[i];
        size_t url_size = sizeof("https://") + strlen(member->peer_address);
        ret->peer_urls[i] = sr_alloc(url_size);
        snprintf(ret->peer_urls[i], url_size, "https://%s", member->peer_address);
        ret->members[i] = (struct sr_service_member){
            .id = member->id,
            .name = member->name,
            .zone = member->zone,
            .peer_url = ret->peer_urls[i],
            .client_urls = (const char *const *)member->client_urls,
            .client_url_count = member->client_urls_count,
        };
    }
}

void sr_founders_close(struct sr_founders *founders)
{
    for (size_t i = 0; i < SR_MEMBERS_MAX; i++) {
        sr_free(founders->peer_urls[i]);
    }
}
