/* SPDX-License-Identifier: Apache-2.0
 *
 * Every number of the configuration in one table: range and default.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "node/config/validate.h"
#include "proto/level.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

struct number {
    const char *path;
    size_t offset;
    size_t size;
    uint64_t min;
    uint64_t max;
    uint64_t fallback;
};

/* clang-format off */
#define NUMBER(member, min, max, fallback)                                                         \
    {#member, offsetof(struct sr_config, member), sizeof(((struct sr_config *)0)->member),         \
     min, max, fallback}
/* clang-format on */

static const struct number numbers[] = {
    NUMBER(cluster.zones_min, 1, 4, 1),
    NUMBER(cluster.replica_check_ms, 1000, 86400000, 60000),
    NUMBER(cluster.feature_level, 1, SR_FEATURE_LEVEL, SR_FEATURE_LEVEL),
    NUMBER(client.loops, 0, 8, 0),
    NUMBER(client.connections_max, 1, SR_CONNECTIONS_MAX, SR_CONNECTIONS_MAX),
    NUMBER(client.request_timeout_ms, 100, 600000, 0), /* its default follows the election's */
    NUMBER(client.drain_timeout_ms, 0, 600000, 10000),
    NUMBER(peer.election_timeout_ms, 150, 60000, 1000),
    NUMBER(peer.tick_ms, 5, 1000, 50),
    NUMBER(storage.map_bytes, 64 * MIB, 64 * TIB, 0), /* the store's own default */
    NUMBER(storage.memtable_entries, 16, 1000000, SR_MEMTABLE_ENTRIES_MAX),
    NUMBER(storage.unindexed_entries, 16, 10000000, SR_UNINDEXED_ENTRIES_MAX),
    NUMBER(storage.memtable_bytes, 64 * KIB, 4 * GIB, (uint64_t)SR_MEMTABLE_BYTES_MAX),
    NUMBER(storage.disk_reserve_bytes, 0, TIB, 256 * MIB),
    NUMBER(storage.log_segment_bytes, 64 * KIB, GIB, 16 * MIB),
    NUMBER(storage.log_keep_bytes, 0, TIB, GIB),
    NUMBER(storage.log_keep_entries, 0, 1000000000, 2000000),
    NUMBER(image.bytes_per_second, 0, 4 * GIB, 64 * MIB),
};

#define NUMBER_COUNT (sizeof(numbers) / sizeof(numbers[0]))

/* Decimal digits only, without a leading zero: what everyone reads the same way. */
static bool parse(const char *text, uint64_t *ret_value)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || text[digits] != 0 || (text[0] == '0' && digits > 1)) {
        return false;
    }
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno != 0) {
        return false;
    }
    *ret_value = value;
    return true;
}

int sr_config_check_number(const struct sr_config_source *source, const char *path, uint64_t min,
                           uint64_t max, struct sr_err *err)
{
    const struct sr_config_field *field = sr_config_source_find(source, path);
    uint64_t value = 0;
    if (field == NULL) {
        return SR_OK;
    }
    if (field->scalar == NULL || !parse(field->scalar, &value) || value < min || value > max) {
        return sr_config_refuse(source, err, path,
                                "must be a whole number from %" PRIu64 " to %" PRIu64, min, max);
    }
    return SR_OK;
}

int sr_config_check_numbers(const struct sr_config_source *source, struct sr_err *err)
{
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        const struct number *number = &numbers[i];
        if (sr_config_check_number(source, number->path, number->min, number->max, err) != SR_OK) {
            return SR_INVALID;
        }
    }
    return sr_config_check_offsite_numbers(source, err);
}

static void set(struct sr_config *config, const struct number *number, uint64_t value)
{
    char *at = (char *)config + number->offset;
    if (number->size == sizeof(uint64_t)) {
        memcpy(at, &value, sizeof(value));
    } else {
        unsigned narrow = (unsigned)value;
        memcpy(at, &narrow, sizeof(narrow));
    }
}

void sr_config_apply_defaults(const struct sr_config_source *source, struct sr_config *config)
{
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        if (sr_config_source_find(source, numbers[i].path) == NULL) {
            set(config, &numbers[i], numbers[i].fallback);
        }
    }
    if (config->client.request_timeout_ms == 0) {
        config->client.request_timeout_ms =
            SR_REQUEST_TIMEOUT_MS + 2 * config->peer.election_timeout_ms;
    }
    if (sr_config_source_find(source, "log.level") == NULL) {
        config->log.level = SR_LOG_INFO;
    }
    if (config->offsite != NULL) {
        sr_config_apply_offsite_defaults(source, config->offsite);
    }
    if (config->admin.listen == NULL) {
        config->admin.listen = sr_strdup("127.0.0.1:2381");
    }
}
