/* SPDX-License-Identifier: Apache-2.0
 *
 * The front of all targets: what is asked is checked here, and what fails gets the target's name
 * and the operation in front of its sentence.
 */
#include "node/offsite/target.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "node/offsite/target_impl.h"

#define FILE_SCHEME "file://"
#define S3_SCHEME   "s3://"

/* ---- Names ---- */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '=' || c == '-';
}

bool sr_target_name_is_valid(const char *name)
{
    size_t size = strnlen(name, SR_TARGET_NAME_MAX);
    if (size == 0 || size == SR_TARGET_NAME_MAX) {
        return false;
    }
    char before = '/';
    for (size_t i = 0; i < size; i++) {
        if (name[i] == '/' ? before == '/'
                           : (!is_name_character(name[i]) || (name[i] == '.' && before == '/'))) {
            return false;
        }
        before = name[i];
    }
    return before != '/';
}

static int check_name(const char *name, struct sr_err *err)
{
    if (sr_target_name_is_valid(name)) {
        return SR_OK;
    }
    return sr_err_set(err, SR_INVALID, "that is no name of an object");
}

/* ---- Open ---- */

static int check_residency(const struct sr_target_config *config, struct sr_err *err)
{
    if (config->regions_allowed_count == 0) {
        return SR_OK;
    }
    if (config->region == NULL) {
        return sr_err_set(err, SR_REFUSED,
                          "residency is configured, but not the region of this target");
    }
    for (size_t i = 0; i < config->regions_allowed_count; i++) {
        if (strcmp(config->regions_allowed[i], config->region) == 0) {
            return SR_OK;
        }
    }
    return sr_err_set(err, SR_REFUSED, "the data must not lie in region %s", config->region);
}

static int open_by_scheme(const struct sr_target_config *config, struct sr_target **ret,
                          struct sr_err *err)
{
    if (strncmp(config->url, FILE_SCHEME, strlen(FILE_SCHEME)) == 0) {
        return sr_target_open_file(config, ret, err);
    }
    if (strncmp(config->url, S3_SCHEME, strlen(S3_SCHEME)) == 0) {
        return sr_target_open_s3(config, ret, err);
    }
    return sr_err_set(err, SR_INVALID, "a target is s3://BUCKET/PREFIX or file:///DIR");
}

static size_t title_size(const char *url)
{
    size_t size = strlen(url);
    while (size > strlen(FILE_SCHEME) + 1 && url[size - 1] == '/') {
        size--;
    }
    return size;
}

int sr_target_open(const struct sr_target_config *config, struct sr_target **ret,
                   struct sr_err *err)
{
    sr_check(config->url != NULL);
    size_t size = title_size(config->url);
    if (size >= SR_TARGET_TITLE_MAX / 2) {
        return sr_err_set(err, SR_INVALID, "the url of a target is too long");
    }
    struct sr_target *target = NULL;
    int status = check_residency(config, err);
    if (status == SR_OK) {
        status = open_by_scheme(config, &target, err);
    }
    if (status != SR_OK) {
        return sr_err_prefix(err, "%.*s", (int)size, config->url);
    }
    snprintf(target->title, sizeof(target->title), "%.*s", (int)size, config->url);
    target->can_lock = config->lock != SR_TARGET_LOCK_NONE;
    *ret = target;
    return SR_OK;
}

void sr_target_close(struct sr_target *target)
{
    if (target != NULL) {
        sr_check(!target->putting);
        target->kind->close(target);
    }
}

const char *sr_target_title(const struct sr_target *target)
{
    return target->title;
}

const char *sr_target_region(const struct sr_target *target)
{
    return target->region;
}

void sr_target_cancel(struct sr_target *target)
{
    atomic_store(&target->cancelled, true);
    target->kind->wake(target);
}

void sr_target_stats(const struct sr_target *target, struct sr_target_stats *ret)
{
    *ret = target->stats;
}

unsigned long long sr_target_moved_bytes(const struct sr_target *target)
{
    return atomic_load_explicit(&target->moved_bytes, memory_order_relaxed);
}

/* ---- Put ---- */

int sr_target_put_begin(struct sr_target *target, const char *name,
                        const struct sr_target_put_options *options, struct sr_target_put **ret,
                        struct sr_err *err)
{
    static const struct sr_target_put_options none;
    options = options == NULL ? &none : options;
    sr_check(!target->putting);
    int status = check_name(name, err);
    if (status == SR_OK && options->retain_until_ms != 0 && !target->can_lock) {
        status = sr_err_set(err, SR_INVALID, "a lock is asked for, but no mode is configured");
    }
    if (status == SR_OK && !options->replace) {
        struct sr_target_object there;
        status = target->kind->head(target, name, &there, err);
        status = status == SR_NOT_FOUND ? SR_OK
                 : status == SR_OK ? sr_err_set(err, SR_EXISTS, "there is an object of that name")
                                   : status;
    }
    if (status == SR_OK) {
        status = target->kind->put_begin(target, name, options, ret, err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: put %s", target->title, name);
        return status;
    }
    struct sr_target_put *put = *ret;
    put->target = target;
    snprintf(put->name, sizeof(put->name), "%s", name);
    put->options = *options;
    target->putting = true;
    return SR_OK;
}

int sr_target_put_write(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct sr_target_put *put = arg;
    sr_check(!put->failed);
    int status = put->target->kind->put_write(put, data, size, err);
    if (status != SR_OK) {
        put->failed = true;
        sr_err_prefix(err, "%s: put %s", put->target->title, put->name);
        return status;
    }
    put->size += size;
    return SR_OK;
}

int sr_target_put_finish(struct sr_target_put *put, struct sr_target_object *ret,
                         struct sr_err *err)
{
    struct sr_target *target = put->target;
    char name[SR_TARGET_NAME_MAX];
    struct sr_target_object object;
    sr_check(!put->failed);
    memcpy(name, put->name, sizeof(name));
    target->putting = false;
    int status = target->kind->put_finish(put, &object, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: put %s", target->title, name);
        return status;
    }
    if (ret != NULL) {
        *ret = object;
    }
    return SR_OK;
}

void sr_target_put_abort(struct sr_target_put *put)
{
    if (put != NULL) {
        put->target->putting = false;
        put->target->kind->put_abort(put);
    }
}

int sr_target_put_bytes(struct sr_target *target, const char *name, const void *data, size_t size,
                        const struct sr_target_put_options *options, struct sr_err *err)
{
    struct sr_target_put *put = NULL;
    int status = sr_target_put_begin(target, name, options, &put, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_target_put_write(put, data, size, err);
    if (status != SR_OK) {
        sr_target_put_abort(put);
        return status;
    }
    return sr_target_put_finish(put, NULL, err);
}

/* ---- Get, head, list, remove ---- */

int sr_target_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
                  sr_target_take_cb take, void *arg, struct sr_err *err)
{
    int status = check_name(name, err);
    if (status == SR_OK) {
        status = target->kind->get(target, name, offset, size, take, arg, err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: get %s", target->title, name);
    }
    return status;
}

struct whole {
    struct sr_buf bytes;
    size_t size_max;
};

static int take_whole(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct whole *whole = arg;
    if (size > whole->size_max - whole->bytes.size) {
        return sr_err_set(err, SR_LIMIT, "larger than %zu bytes", whole->size_max);
    }
    sr_buf_append(&whole->bytes, data, size);
    return SR_OK;
}

int sr_target_get_bytes(struct sr_target *target, const char *name, size_t size_max,
                        uint8_t **ret_data, size_t *ret_size, struct sr_err *err)
{
    struct whole whole = {.size_max = size_max};
    int status = sr_target_get(target, name, 0, 0, take_whole, &whole, err);
    if (status != SR_OK) {
        sr_buf_close(&whole.bytes);
        return status;
    }
    sr_buf_append_u8(&whole.bytes, 0);
    *ret_data = whole.bytes.data;
    *ret_size = whole.bytes.size - 1;
    return SR_OK;
}

int sr_target_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
                   struct sr_err *err)
{
    struct sr_target_object object = {0};
    int status = check_name(name, err);
    if (status == SR_OK) {
        status = target->kind->head(target, name, &object, err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: head %s", target->title, name);
        return status;
    }
    *ret = object;
    return SR_OK;
}

int sr_target_list(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
                   struct sr_err *err)
{
    int status = target->kind->list(target, prefix, each, arg, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: list %s", target->title, prefix);
    }
    return status;
}

int sr_target_remove(struct sr_target *target, const char *name, struct sr_err *err)
{
    int status = check_name(name, err);
    if (status == SR_OK) {
        status = target->kind->remove(target, name, err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: remove %s", target->title, name);
    }
    return status;
}

int sr_target_clean(struct sr_target *target, const char *prefix, uint64_t age_ms,
                    uint64_t *ret_count, struct sr_err *err)
{
    uint64_t now_ms = sr_clock_wall_ms();
    uint64_t count = 0;
    int status =
        target->kind->clean(target, prefix, now_ms > age_ms ? now_ms - age_ms : 0, &count, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "%s: clean", target->title);
        return status;
    }
    if (ret_count != NULL) {
        *ret_count = count;
    }
    return SR_OK;
}

/* ---- Probe ---- */

/* Put, read back, remove. Who may not remove, or not yet, may ship all the same. */
static int probe_by_writing(struct sr_target *target, struct sr_err *err)
{
    static const char content[] = "Strongroom asks whether it may write here.\n";
    const struct sr_target_put_options options = {.replace = true};
    char name[64];
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        return sr_err_set(err, SR_CRYPTO, "%s: no random number", target->title);
    }
    snprintf(name, sizeof(name), "probe-%016llx", (unsigned long long)random);
    int status = sr_target_put_bytes(target, name, content, sizeof(content), &options, err);
    if (status != SR_OK) {
        return status;
    }
    uint8_t *data = NULL;
    size_t size = 0;
    status = sr_target_get_bytes(target, name, 4096, &data, &size, err);
    if (status == SR_OK && (size != sizeof(content) || memcmp(data, content, size) != 0)) {
        status =
            sr_err_set(err, SR_CORRUPT, "%s: %s reads back as something else", target->title, name);
    }
    sr_free(data);
    struct sr_err why = {0};
    int removed = sr_target_remove(target, name, &why);
    if (status == SR_OK && removed != SR_OK && removed != SR_REFUSED) {
        status = sr_err_set(err, removed, "%s", why.text);
    }
    return status;
}

int sr_target_probe(struct sr_target *target, bool writing, struct sr_err *err)
{
    int status = target->kind->probe(target, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "%s", target->title);
        return status;
    }
    return writing ? probe_by_writing(target, err) : SR_OK;
}
