/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers of the section "offsite", which is a pointer with lists in it and so has tables of its
 * own; and what has to fit together in it.
 */
#include "node/config/offsite.h"

#include <stdio.h>
#include <string.h>

#include "node/config/validate.h"
#include "node/offsite/retention.h"
#include "proto/limits.h"
#include "proto/member.h"

#define MIB        (UINT64_C(1024) * 1024)
#define MINUTE_MS  UINT64_C(60000)
#define DAY_MS     (1440 * MINUTE_MS)
#define PATH_START "offsite."

struct number {
    const char *field;
    size_t offset;
    size_t size;
    uint64_t min;
    uint64_t max;
    uint64_t fallback;
};

/* clang-format off */
#define NUMBER(type, member, min, max, fallback)                                                   \
    {#member, offsetof(struct type, member), sizeof(((struct type *)0)->member), min, max, fallback}
/* clang-format on */

static const struct number section_numbers[] = {
    NUMBER(sr_config_offsite, every_ms, 1000, 7 * DAY_MS,
           0), /* five a day unless there are times */
    NUMBER(sr_config_offsite, spread_ms, 0, DAY_MS / 24, 30 * MINUTE_MS),
    NUMBER(sr_config_offsite, changes_every_ms, 200, DAY_MS, 10000),
    NUMBER(sr_config_offsite, claim_timeout_ms, 1000, DAY_MS / 24, 30000),
    NUMBER(sr_config_offsite, drill_every_ms, 0, 7 * DAY_MS, 0),
    NUMBER(sr_config_offsite, retention.last, 1, 500, 10),
    NUMBER(sr_config_offsite, retention.daily, 0, 400, 14),
    NUMBER(sr_config_offsite, retention.monthly, 0, 400, 12),
    NUMBER(sr_config_offsite, retention.yearly, 0, 100, 10),
    NUMBER(sr_config_offsite, retention.changes_days, 0, 36500, 35),
};

/* 0: the target's own default. */
static const struct number target_numbers[] = {
    NUMBER(sr_config_target, lock_days, 1, 36500, 0),
    NUMBER(sr_config_target, parts_parallel, 1, SR_TARGET_PARTS_PARALLEL_MAX, 0),
    NUMBER(sr_config_target, part_bytes, SR_TARGET_PART_BYTES_MIN, SR_TARGET_PART_BYTES_MAX, 0),
    NUMBER(sr_config_target, bytes_per_second, 0, 4096 * MIB, 0),
    NUMBER(sr_config_target, connect_timeout_ms, 100, 600000, 0),
    NUMBER(sr_config_target, stall_timeout_ms, 100, 600000, 0),
    NUMBER(sr_config_target, attempts, 1, 100, 0),
};

#define COUNT(of) (sizeof(of) / sizeof((of)[0]))

static const char *target_path(char out[SR_CONFIG_PATH_MAX], unsigned i, const char *field)
{
    (void)snprintf(out, SR_CONFIG_PATH_MAX, PATH_START "targets[%u]%s%s", i,
                   field[0] == 0 ? "" : ".", field);
    return out;
}

static const char *section_path(char out[SR_CONFIG_PATH_MAX], const char *field)
{
    (void)snprintf(out, SR_CONFIG_PATH_MAX, PATH_START "%s", field);
    return out;
}

/* ---- Numbers ---- */

int sr_config_check_offsite_numbers(const struct sr_config_source *source, struct sr_err *err)
{
    char path[SR_CONFIG_PATH_MAX];
    for (size_t k = 0; k < COUNT(section_numbers); k++) {
        const struct number *number = &section_numbers[k];
        if (sr_config_check_number(source, section_path(path, number->field), number->min,
                                   number->max, err) != SR_OK) {
            return SR_INVALID;
        }
    }
    for (unsigned i = 0; i < SR_OFFSITE_TARGETS_MAX; i++) {
        for (size_t k = 0; k < COUNT(target_numbers); k++) {
            const struct number *number = &target_numbers[k];
            if (sr_config_check_number(source, target_path(path, i, number->field), number->min,
                                       number->max, err) != SR_OK) {
                return SR_INVALID;
            }
        }
    }
    return SR_OK;
}

static void set_default(const struct sr_config_source *source, const char *path, void *object,
                        const struct number *number)
{
    if (sr_config_source_find(source, path) != NULL) {
        return;
    }
    char *at = (char *)object + number->offset;
    unsigned narrow = (unsigned)number->fallback;
    if (number->size == sizeof(uint64_t)) {
        memcpy(at, &number->fallback, sizeof(uint64_t));
    } else {
        memcpy(at, &narrow, sizeof(narrow));
    }
}

void sr_config_apply_offsite_defaults(const struct sr_config_source *source,
                                      struct sr_config_offsite *offsite)
{
    char path[SR_CONFIG_PATH_MAX];
    for (size_t k = 0; k < COUNT(section_numbers); k++) {
        set_default(source, section_path(path, section_numbers[k].field), offsite,
                    &section_numbers[k]);
    }
    for (unsigned i = 0; i < offsite->targets_count; i++) {
        for (size_t k = 0; k < COUNT(target_numbers); k++) {
            set_default(source, target_path(path, i, target_numbers[k].field), &offsite->targets[i],
                        &target_numbers[k]);
        }
    }
    if (sr_config_source_find(source, PATH_START "drill") == NULL) {
        offsite->drill = true;
    }
    if (offsite->times_count == 0 && offsite->every_ms == 0) {
        offsite->every_ms = DAY_MS / 5;
    }
}

/* ---- What fits together ---- */

int sr_config_time_of_day(const char *text)
{
    static const char shape[] = "dd:dd";
    for (size_t i = 0; i < sizeof(shape); i++) {
        bool fits = shape[i] == 'd' ? text[i] >= '0' && text[i] <= '9' : text[i] == shape[i];
        if (!fits) {
            return -1;
        }
    }
    int hours = (text[0] - '0') * 10 + text[1] - '0';
    int minutes = (text[3] - '0') * 10 + text[4] - '0';
    return hours < 24 && minutes < 60 ? hours * 3600 + minutes * 60 : -1;
}

static int check_times(const struct sr_config_source *source,
                       const struct sr_config_offsite *offsite, struct sr_err *err)
{
    char path[SR_CONFIG_PATH_MAX];
    int before = -1;
    for (unsigned i = 0; i < offsite->times_count; i++) {
        int at = sr_config_time_of_day(offsite->times[i]);
        (void)snprintf(path, sizeof(path), PATH_START "times[%u]", i);
        if (at < 0) {
            return sr_config_refuse(source, err, path, "must be HH:MM, from 00:00 to 23:59");
        }
        if (at <= before) {
            return sr_config_refuse(source, err, path, "must be later than the one before it");
        }
        before = at;
    }
    if (offsite->times_count > 0 && offsite->every_ms > 0) {
        return sr_config_refuse(source, err, PATH_START "every_ms",
                                "there is offsite.times already: one of the two");
    }
    return SR_OK;
}

static int check_files(const struct sr_config_source *source,
                       const struct sr_config_offsite *offsite, struct sr_err *err)
{
    char path[SR_CONFIG_PATH_MAX];
    for (unsigned i = 0; i < offsite->recovery_keys_count; i++) {
        if (offsite->recovery_keys[i][0] != '/') {
            (void)snprintf(path, sizeof(path), PATH_START "recovery_keys[%u]", i);
            return sr_config_refuse(source, err, path, "must be an absolute path");
        }
    }
    for (unsigned i = 0; i < offsite->targets_count; i++) {
        const struct sr_config_target *target = &offsite->targets[i];
        if (target->credentials_file != NULL && target->credentials_file[0] != '/') {
            return sr_config_refuse(source, err, target_path(path, i, "credentials_file"),
                                    "must be an absolute path");
        }
        if (target->ca_file != NULL && target->ca_file[0] != '/') {
            return sr_config_refuse(source, err, target_path(path, i, "ca_file"),
                                    "must be an absolute path");
        }
    }
    return SR_OK;
}

/* Residency: said again by the target itself, which also asks where its bucket really is. */
static int check_region(const struct sr_config_source *source,
                        const struct sr_config_offsite *offsite, unsigned i, struct sr_err *err)
{
    const char *region = offsite->targets[i].region;
    char path[SR_CONFIG_PATH_MAX];
    if (offsite->regions_allowed_count == 0) {
        return SR_OK;
    }
    if (region == NULL) {
        return sr_config_refuse(source, err, target_path(path, i, "region"),
                                "missing, and offsite.regions_allowed demands one");
    }
    for (unsigned k = 0; k < offsite->regions_allowed_count; k++) {
        if (strcmp(region, offsite->regions_allowed[k]) == 0) {
            return SR_OK;
        }
    }
    return sr_config_refuse(source, err, target_path(path, i, "region"),
                            "\"%s\" is none of offsite.regions_allowed", region);
}

/* But for slashes at their ends. */
static bool is_same_place(const char *url, const char *other)
{
    size_t size = strlen(url);
    size_t other_size = strlen(other);
    while (size > 0 && url[size - 1] == '/') {
        size--;
    }
    while (other_size > 0 && other[other_size - 1] == '/') {
        other_size--;
    }
    return size == other_size && memcmp(url, other, size) == 0;
}

/* A string that may not be there. */
static bool is_same_text(const char *text, const char *other)
{
    return text == NULL || other == NULL ? text == other : strcmp(text, other) == 0;
}

/* What the target itself says of its settings. A directory that is not mounted here and now is no
 * fault of the file. */
static int check_opens(const struct sr_config_source *source,
                       const struct sr_config_offsite *offsite, unsigned i, struct sr_err *err)
{
    struct sr_target_config config = sr_config_target_of(offsite, &offsite->targets[i]);
    struct sr_target *target = NULL;
    struct sr_err reason = {0};
    char path[SR_CONFIG_PATH_MAX];
    int status = sr_target_open(&config, &target, &reason);
    if (status == SR_OK) {
        sr_target_close(target);
    }
    if (status != SR_INVALID && status != SR_REFUSED) {
        return SR_OK;
    }
    return sr_config_refuse(source, err, target_path(path, i, ""), "%s", reason.text);
}

static int check_target(const struct sr_config_source *source,
                        const struct sr_config_offsite *offsite, unsigned i, struct sr_err *err)
{
    const struct sr_config_target *target = &offsite->targets[i];
    char path[SR_CONFIG_PATH_MAX];
    if (!sr_is_name(target->name)) {
        return sr_config_refuse(source, err, target_path(path, i, "name"),
                                "must be 1 to %d of a-z, 0-9 and '-', the first and last not '-'",
                                SR_NAME_BYTES_MAX);
    }
    for (unsigned k = 0; k < i; k++) {
        if (strcmp(target->name, offsite->targets[k].name) == 0) {
            return sr_config_refuse(source, err, target_path(path, i, "name"),
                                    "\"%s\" is already offsite.targets[%u]", target->name, k);
        }
        if (is_same_place(target->url, offsite->targets[k].url) &&
            is_same_text(target->endpoint, offsite->targets[k].endpoint)) {
            return sr_config_refuse(source, err, target_path(path, i, "url"),
                                    "offsite.targets[%u] is there already: two in one place would "
                                    "number what they ship alike",
                                    k);
        }
    }
    if (strncmp(target->url, "s3://", 5) != 0 && strncmp(target->url, "file:///", 8) != 0) {
        return sr_config_refuse(source, err, target_path(path, i, "url"),
                                "must be s3://BUCKET/PREFIX or file:///DIRECTORY");
    }
    if ((target->lock == SR_TARGET_LOCK_NONE) != (target->lock_days == 0)) {
        return sr_config_refuse(source, err, target_path(path, i, "lock_days"),
                                "lock and lock_days belong together");
    }
    int status = check_region(source, offsite, i, err);
    return status == SR_OK ? check_opens(source, offsite, i, err) : status;
}

/* What is to be kept of all targets has to find room in the cluster's catalogue. */
static int check_retention(const struct sr_config_source *source,
                           const struct sr_config_offsite *offsite, struct sr_err *err)
{
    uint64_t kept = (uint64_t)offsite->retention.last + offsite->retention.daily +
                    offsite->retention.monthly + offsite->retention.yearly + 1; /* a proven one */
    size_t room = sr_retention_room(offsite->targets_count);
    if (kept > room) {
        return sr_config_refuse(source, err, PATH_START "retention.last",
                                "last, daily, monthly and yearly are too many together: of each of "
                                "%u targets there is room for %zu snapshots",
                                offsite->targets_count, room - 1);
    }
    return SR_OK;
}

int sr_config_validate_offsite(const struct sr_config_source *source,
                               const struct sr_config_offsite *offsite, struct sr_err *err)
{
    for (unsigned i = 0; i < offsite->targets_count; i++) {
        if (check_target(source, offsite, i, err) != SR_OK) {
            return SR_INVALID;
        }
    }
    if (check_retention(source, offsite, err) != SR_OK ||
        check_times(source, offsite, err) != SR_OK) {
        return SR_INVALID;
    }
    return check_files(source, offsite, err);
}

/* ---- As the target takes it ---- */

struct sr_target_config sr_config_target_of(const struct sr_config_offsite *offsite,
                                            const struct sr_config_target *from)
{
    return (struct sr_target_config){
        .url = from->url,
        .region = from->region,
        .regions_allowed = (const char *const *)offsite->regions_allowed,
        .regions_allowed_count = offsite->regions_allowed_count,
        .bytes_per_second = from->bytes_per_second,
        .endpoint = from->endpoint,
        .virtual_host = from->virtual_host,
        .credentials_file = from->credentials_file,
        .credentials_command = from->credentials_command,
        .profile = from->profile,
        .storage_class = from->storage_class,
        .sse = from->sse,
        .sse_kms_key = from->sse_kms_key,
        .lock = from->lock,
        .checksum_sha256 = from->checksum_sha256,
        .proxy = from->proxy,
        .ca_file = from->ca_file,
        .parts_parallel = from->parts_parallel,
        .part_bytes = from->part_bytes,
        .connect_timeout_ms = from->connect_timeout_ms,
        .stall_timeout_ms = from->stall_timeout_ms,
        .attempts = from->attempts,
    };
}
