/* SPDX-License-Identifier: Apache-2.0
 *
 * Lists come in pages of up to 1,000: of objects, of versions, of unfinished uploads. A page is
 * read whole before anything is done about it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "node/offsite/s3.h"

/* More pages than the largest bucket has: a server that never says it is the last. */
#define PAGES_MAX 100000
/* S3 gives 1,000: one that gives more than these is not counted on to be reasonable. */
#define PAGE_ENTRIES_MAX 10000

struct entry {
    char *key;
    char id[SR_S3_TEXT_MAX]; /* of a version or an upload */
    uint64_t size;
    uint64_t when_ms;
};

struct page {
    const char *const *containers; /* elements that are entries, NULL at the end */
    struct entry *entries;
    size_t count, capacity;
    struct entry current;
    bool truncated;
    char next_key[SR_S3_TEXT_MAX];
    char next_id[SR_S3_TEXT_MAX];
};

/* ---- A page ---- */

static void page_clear(struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        sr_free(page->entries[i].key);
    }
    sr_free(page->entries);
    sr_free(page->current.key);
    const char *const *containers = page->containers;
    memset(page, 0, sizeof(*page));
    page->containers = containers;
}

static bool is_container(const struct page *page, const char *name)
{
    for (size_t i = 0; page->containers[i] != NULL; i++) {
        if (strcmp(page->containers[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static uint64_t time_of(const char *text)
{
    struct tm when = {0};
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &when) == NULL ? 0 : (uint64_t)timegm(&when) * 1000;
}

static void on_field(struct entry *entry, const char *name, const char *text)
{
    if (strcmp(name, "Key") == 0) {
        sr_free(entry->key);
        entry->key = sr_strdup(text);
    } else if (strcmp(name, "VersionId") == 0 || strcmp(name, "UploadId") == 0) {
        snprintf(entry->id, sizeof(entry->id), "%s", text);
    } else if (strcmp(name, "Size") == 0 && text[0] >= '0' && text[0] <= '9') {
        entry->size = strtoull(text, NULL, 10);
    } else if (strcmp(name, "LastModified") == 0 || strcmp(name, "Initiated") == 0) {
        entry->when_ms = time_of(text);
    }
}

static int keep_entry(struct page *page, struct sr_err *err)
{
    if (page->count == PAGE_ENTRIES_MAX) {
        return sr_err_set(err, SR_FORMAT, "a list with more than %d entries in a page",
                          PAGE_ENTRIES_MAX);
    }
    if (page->current.key != NULL) {
        if (page->count == page->capacity) {
            page->capacity = page->capacity == 0 ? 64 : page->capacity * 2;
            page->entries = sr_realloc(page->entries, page->capacity * sizeof(*page->entries));
        }
        page->entries[page->count++] = page->current;
    }
    memset(&page->current, 0, sizeof(page->current));
    return SR_OK;
}

static int on_element(void *arg, const char *parent, const char *name, const char *text,
                      struct sr_err *err)
{
    struct page *page = arg;
    if (is_container(page, parent)) {
        on_field(&page->current, name, text);
    } else if (is_container(page, name)) {
        return keep_entry(page, err);
    } else if (strcmp(name, "IsTruncated") == 0) {
        page->truncated = strcmp(text, "true") == 0;
    } else if (strcmp(name, "NextContinuationToken") == 0 || strcmp(name, "NextKeyMarker") == 0) {
        snprintf(page->next_key, sizeof(page->next_key), "%s", text);
    } else if (strcmp(name, "NextVersionIdMarker") == 0 ||
               strcmp(name, "NextUploadIdMarker") == 0) {
        snprintf(page->next_id, sizeof(page->next_id), "%s", text);
    }
    return SR_OK;
}

static void add_parameter(struct sr_buf *query, const char *name, const char *value)
{
    if (query->size > 0) {
        sr_buf_append_u8(query, '&');
    }
    sr_buf_append(query, name, strlen(name));
    sr_buf_append_u8(query, '=');
    sr_s3_encode(query, value, false);
}

/* Read one page; @query is closed. */
static int read_page(struct sr_s3 *s3, struct sr_buf *query, struct page *page, struct sr_err *err)
{
    sr_buf_append_u8(query, 0);
    struct sr_s3_request request = {.method = SR_HTTP_GET,
                                    .address = sr_s3_address(s3, NULL, (const char *)query->data)};
    sr_buf_close(query);
    page_clear(page);
    int status = sr_s3_request_run(s3, &request, err);
    if (status == SR_OK) {
        status = sr_s3_xml_read(sr_s3_answer(&request), on_element, page, err);
    }
    if (status == SR_OK && page->truncated && page->next_key[0] == 0) {
        status = sr_err_set(err, SR_FORMAT, "a list that does not say how it goes on");
    }
    sr_s3_request_close(&request);
    return status;
}

/* ---- Objects ---- */

/* The name of @key within the target, NULL when it is not one of ours. */
static const char *name_of(const struct sr_s3 *s3, const char *key)
{
    size_t size = strlen(s3->prefix);
    return strncmp(key, s3->prefix, size) == 0 && sr_target_name_is_valid(key + size) ? key + size
                                                                                      : NULL;
}

/* A server that does not know of prefixes lists more than it was asked for. */
static int give(const struct sr_s3 *s3, const struct page *page, const char *prefix,
                sr_target_each_cb each, void *arg, struct sr_err *err)
{
    int status = SR_OK;
    for (size_t i = 0; i < page->count && status == SR_OK; i++) {
        const struct entry *entry = &page->entries[i];
        const char *name = name_of(s3, entry->key);
        if (name != NULL && strncmp(name, prefix, strlen(prefix)) == 0) {
            struct sr_target_object object = {.size = entry->size, .modified_ms = entry->when_ms};
            snprintf(object.name, sizeof(object.name), "%s", name);
            status = each(arg, &object, err);
        }
    }
    return status;
}

static char *full_prefix(const struct sr_s3 *s3, const char *prefix)
{
    size_t size = strlen(s3->prefix) + strlen(prefix) + 1;
    char *out = sr_alloc(size);
    (void)snprintf(out, size, "%s%s", s3->prefix, prefix);
    return out;
}

int sr_s3_list(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
               struct sr_err *err)
{
    static const char *const containers[] = {"Contents", NULL};
    struct sr_s3 *s3 = sr_s3_of(target);
    struct page *page = sr_zalloc(sizeof(*page));
    char *whole = full_prefix(s3, prefix);
    page->containers = containers;
    int status = SR_OK;
    unsigned pages = 0;
    do {
        struct sr_buf query = {0};
        if (page->truncated) {
            add_parameter(&query, "continuation-token", page->next_key);
        }
        add_parameter(&query, "list-type", "2");
        add_parameter(&query, "prefix", whole);
        status = read_page(s3, &query, page, err);
        if (status == SR_OK) {
            status = give(s3, page, prefix, each, arg, err);
        }
    } while (status == SR_OK && page->truncated && ++pages < PAGES_MAX);
    page_clear(page);
    sr_free(page);
    sr_free(whole);
    return status;
}

/* ---- Versions ---- */

static int remove_version(struct sr_s3 *s3, const char *name, const char *version,
                          struct sr_err *err)
{
    struct sr_buf query = {0};
    add_parameter(&query, "versionId", version);
    sr_buf_append_u8(&query, 0);
    struct sr_s3_request request = {.method = SR_HTTP_DELETE,
                                    .address = sr_s3_address(s3, name, (const char *)query.data)};
    sr_buf_close(&query);
    int status = sr_s3_request_run(s3, &request, err);
    sr_s3_request_close(&request);
    return status;
}

int sr_s3_remove_versions(struct sr_s3 *s3, const char *name, size_t *ret_count, struct sr_err *err)
{
    static const char *const containers[] = {"Version", "DeleteMarker", NULL};
    struct page *page = sr_zalloc(sizeof(*page));
    char *whole = full_prefix(s3, name);
    page->containers = containers;
    int status = SR_OK;
    unsigned pages = 0;
    do {
        struct sr_buf query = {0};
        if (page->truncated) {
            add_parameter(&query, "key-marker", page->next_key);
        }
        add_parameter(&query, "prefix", whole);
        if (page->truncated) {
            add_parameter(&query, "version-id-marker", page->next_id);
        }
        add_parameter(&query, "versions", "");
        status = read_page(s3, &query, page, err);
        for (size_t i = 0; i < page->count && status == SR_OK; i++) {
            if (strcmp(page->entries[i].key, whole) == 0) {
                status = remove_version(s3, name, page->entries[i].id, err);
                *ret_count += status == SR_OK;
            }
        }
    } while (status == SR_OK && page->truncated && ++pages < PAGES_MAX);
    page_clear(page);
    sr_free(page);
    sr_free(whole);
    return status;
}

/* ---- Unfinished uploads ---- */

static int end_upload(struct sr_s3 *s3, const char *name, const char *upload, struct sr_err *err)
{
    struct sr_buf query = {0};
    add_parameter(&query, "uploadId", upload);
    sr_buf_append_u8(&query, 0);
    struct sr_s3_request request = {.method = SR_HTTP_DELETE,
                                    .address = sr_s3_address(s3, name, (const char *)query.data)};
    sr_buf_close(&query);
    int status = sr_s3_request_run(s3, &request, err);
    sr_s3_request_close(&request);
    return status == SR_NOT_FOUND ? SR_OK : status; /* it has ended by itself */
}

static int clean_page(struct sr_s3 *s3, const struct page *page, uint64_t before_ms,
                      uint64_t *count, struct sr_err *err)
{
    int status = SR_OK;
    for (size_t i = 0; i < page->count && status == SR_OK; i++) {
        const struct entry *entry = &page->entries[i];
        const char *name = name_of(s3, entry->key);
        if (name != NULL && entry->when_ms != 0 && entry->when_ms < before_ms) {
            status = end_upload(s3, name, entry->id, err);
            *count += status == SR_OK;
        }
    }
    return status;
}

int sr_s3_clean(struct sr_target *target, const char *prefix, uint64_t before_ms,
                uint64_t *ret_count, struct sr_err *err)
{
    static const char *const containers[] = {"Upload", NULL};
    struct sr_s3 *s3 = sr_s3_of(target);
    struct page *page = sr_zalloc(sizeof(*page));
    char *whole = full_prefix(s3, prefix);
    page->containers = containers;
    int status = SR_OK;
    unsigned pages = 0;
    do {
        struct sr_buf query = {0};
        if (page->truncated) {
            add_parameter(&query, "key-marker", page->next_key);
        }
        add_parameter(&query, "prefix", whole);
        if (page->truncated) {
            add_parameter(&query, "upload-id-marker", page->next_id);
        }
        add_parameter(&query, "uploads", "");
        status = read_page(s3, &query, page, err);
        if (status == SR_OK) {
            status = clean_page(s3, page, before_ms, ret_count, err);
        }
    } while (status == SR_OK && page->truncated && ++pages < PAGES_MAX);
    page_clear(page);
    sr_free(page);
    sr_free(whole);
    return status;
}
