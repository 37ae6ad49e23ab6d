/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/raftlog/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"

char fx_dir[64];
struct sr_keyring *fx_keyring;

static char keyring_path[96];
static uint64_t random_state = 88172645463325252U;

uint64_t fx_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void fx_seed(uint64_t seed)
{
    random_state = seed * 2862933555777941757U + 3037000493U;
}

static int write_through(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    (void)arg;
    return sr_log_disk_real.write(NULL, fd, data, size, offset);
}

static int sync_nothing(void *arg, int fd)
{
    (void)arg;
    (void)fd;
    return 0;
}

const struct sr_log_disk fx_disk_fast = {.write = write_through, .sync = sync_nothing};

int fx_set_up(void **state)
{
    (void)state;
    static const uint8_t kek[SR_KEY_BYTES] = "a master key for tests of logs..";
    const char *base = getenv("TMPDIR");
    if (access("/dev/shm", W_OK) == 0) { /* thousands of small files: not for a real disk */
        base = "/dev/shm";
    }
    snprintf(fx_dir, sizeof(fx_dir), "%.32s/raftlog-XXXXXX", base != NULL ? base : "/tmp");
    sr_check(mkdtemp(fx_dir) != NULL);
    snprintf(keyring_path, sizeof(keyring_path), "%s.keyring", fx_dir);
    sr_check(sr_keyring_create(keyring_path, kek, CLUSTER, MEMBER, NULL) == SR_OK);
    sr_check(sr_keyring_open(keyring_path, kek, CLUSTER, MEMBER, &fx_keyring, NULL) == SR_OK);
    return 0;
}

int fx_tear_down(void **state)
{
    (void)state;
    struct fx_image nothing = {0};
    fx_image_write(&nothing, fx_dir);
    rmdir(fx_dir);
    unlink(keyring_path);
    sr_keyring_close(fx_keyring);
    return 0;
}

/* ---- Directories ---- */

static void path_of(char out[128], const char *dir, const char *name)
{
    snprintf(out, 128, "%s/%s", dir, name);
}

struct fx_file *fx_image_find(struct fx_image *image, const char *name)
{
    for (size_t i = 0; i < image->count; i++) {
        if (strcmp(image->files[i].name, name) == 0) {
            return &image->files[i];
        }
    }
    return NULL;
}

struct fx_file *fx_image_add(struct fx_image *image, const char *name)
{
    sr_check(image->count < FX_FILES_MAX);
    struct fx_file *file = &image->files[image->count++];
    memset(file, 0, sizeof(*file));
    snprintf(file->name, sizeof(file->name), "%.31s", name);
    return file;
}

void fx_image_remove(struct fx_image *image, const char *name)
{
    struct fx_file *file = fx_image_find(image, name);
    if (file != NULL) {
        sr_free(file->data);
        *file = image->files[--image->count];
    }
}

void fx_file_write(struct fx_file *file, size_t offset, const uint8_t *data, size_t size)
{
    if (offset + size > file->size) {
        file->data = sr_realloc(file->data, offset + size);
        memset(file->data + file->size, 0, offset + size - file->size);
        file->size = offset + size;
    }
    memcpy(file->data + offset, data, size);
}

void fx_image_copy(struct fx_image *to, const struct fx_image *from)
{
    memset(to, 0, sizeof(*to));
    for (size_t i = 0; i < from->count; i++) {
        struct fx_file *file = fx_image_add(to, from->files[i].name);
        if (from->files[i].size > 0) {
            fx_file_write(file, 0, from->files[i].data, from->files[i].size);
        }
    }
}

void fx_image_close(struct fx_image *image)
{
    for (size_t i = 0; i < image->count; i++) {
        sr_free(image->files[i].data);
    }
    image->count = 0;
}

void fx_image_read(struct fx_image *image, const char *dir)
{
    char path[128];
    memset(image, 0, sizeof(*image));
    DIR *handle = opendir(dir);
    sr_check(handle != NULL);
    struct dirent *entry;
    while ((entry = readdir(handle)) != NULL) {
        struct stat stat_;
        if (entry->d_name[0] == '.') {
            continue;
        }
        struct fx_file *file = fx_image_add(image, entry->d_name);
        path_of(path, dir, file->name);
        int fd = open(path, O_RDONLY);
        sr_check(fd >= 0 && fstat(fd, &stat_) == 0);
        file->size = (size_t)stat_.st_size;
        file->data = sr_alloc(file->size + 1);
        sr_check(read(fd, file->data, file->size) == (ssize_t)file->size);
        close(fd);
    }
    closedir(handle);
}

void fx_image_write(const struct fx_image *image, const char *dir)
{
    char path[128];
    struct dirent *entry;
    DIR *handle = opendir(dir);
    sr_check(handle != NULL);
    while ((entry = readdir(handle)) != NULL) {
        if (entry->d_name[0] != '.') {
            sr_check(unlinkat(dirfd(handle), entry->d_name, 0) == 0);
        }
    }
    closedir(handle);
    for (size_t i = 0; i < image->count; i++) {
        const struct fx_file *file = &image->files[i];
        path_of(path, dir, file->name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        sr_check(fd >= 0);
        sr_check(file->size == 0 || write(fd, file->data, file->size) == (ssize_t)file->size);
        close(fd);
    }
}

bool fx_image_equal(const struct fx_image *a, const struct fx_image *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const struct fx_file *x = &a->files[i];
        const struct fx_file *y = NULL;
        for (size_t k = 0; k < b->count && y == NULL; k++) {
            y = strcmp(b->files[k].name, x->name) == 0 ? &b->files[k] : NULL;
        }
        if (y == NULL || y->size != x->size || memcmp(x->data, y->data, x->size) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- The model ---- */

/* The bytes of @seed: any two seeds differ early. */
static void fill(uint8_t *data, size_t size, uint32_t seed)
{
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = (uint8_t)(x >> 24);
    }
}

void fx_append(struct sr_raftlog *log, struct fx_model *model, size_t size)
{
    sr_check(model->last + 1 < FX_ENTRIES_MAX);
    struct fx_entry *entry = &model->entries[++model->last];
    *entry = (struct fx_entry){.term = model->term,
                               .type = (uint32_t)(1 + fx_random() % 3),
                               .size = (uint32_t)size,
                               .seed = (uint32_t)fx_random()};
    uint8_t *data = sr_alloc(size + 1);
    fill(data, size, entry->seed);
    struct sr_log_entry real = {.term = entry->term, .type = entry->type, .data = {data, size}};
    sr_raftlog_append(log, &real, 1);
    sr_free(data);
}

void fx_truncate(struct sr_raftlog *log, struct fx_model *model, uint64_t index)
{
    sr_raftlog_truncate(log, index);
    if (index <= model->last) {
        model->last = index - 1;
    }
}

#define MANIFEST_BYTES 700

void fx_put_manifest(struct sr_raftlog *log, struct fx_model *model, struct sr_err *err,
                     int *ret_status)
{
    uint8_t data[MANIFEST_BYTES];
    uint32_t seed = (uint32_t)fx_random() | 1;
    fill(data, sizeof(data), seed);
    model->manifest = seed;
    *ret_status = sr_raftlog_put_manifest(log, data, sizeof(data), err);
}

int fx_open(const struct sr_log_disk *disk, size_t segment_bytes, struct sr_raftlog **ret,
            struct sr_raftlog_state *ret_state, struct sr_err *err)
{
    struct sr_raftlog_options options = {.dir = fx_dir,
                                         .keyring = fx_keyring,
                                         .cluster_id = CLUSTER,
                                         .member_id = MEMBER,
                                         .segment_bytes = segment_bytes,
                                         .disk = disk};
    return sr_raftlog_open(&options, ret, ret_state, err);
}

static bool manifest_matches(struct sr_raftlog *log, const struct fx_model *model, char why[128])
{
    uint8_t expected[MANIFEST_BYTES];
    struct sr_buf data = {0};
    struct sr_err err = {0};
    int status = sr_raftlog_get_manifest(log, &data, &err);
    fill(expected, sizeof(expected), model->manifest);
    bool good = model->manifest == 0 ? status == SR_NOT_FOUND
                                     : status == SR_OK && data.size == sizeof(expected) &&
                                           memcmp(data.data, expected, sizeof(expected)) == 0;
    if (!good) {
        snprintf(why, 128, "manifest: %.100s", err.text);
    }
    sr_buf_close(&data);
    return good;
}

static bool entry_matches(struct sr_raftlog *log, const struct fx_model *model, uint64_t index,
                          struct sr_buf *scratch, char why[128])
{
    struct sr_log_entry entry;
    struct sr_err err = {0};
    const struct fx_entry *expected = &model->entries[index];
    int status = sr_raftlog_read(log, index, scratch, &entry, &err);
    if (status != SR_OK) {
        snprintf(why, 128, "entry %llu: %.100s", (unsigned long long)index, err.text);
        return false;
    }
    uint8_t *data = sr_alloc(expected->size + 1);
    fill(data, expected->size, expected->seed);
    bool good = entry.term == expected->term && entry.type == expected->type &&
                entry.data.size == expected->size &&
                (expected->size == 0 || memcmp(entry.data.data, data, expected->size) == 0);
    sr_free(data);
    if (!good) {
        snprintf(why, 128, "entry %llu is another one", (unsigned long long)index);
    }
    return good;
}

bool fx_matches(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                const struct fx_model *model, char why[128])
{
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    bool good = false;

    if (state->term != model->term || state->voted_for != model->voted_for) {
        snprintf(why, 128, "term %llu vote %llu instead of %llu %llu",
                 (unsigned long long)state->term, (unsigned long long)state->voted_for,
                 (unsigned long long)model->term, (unsigned long long)model->voted_for);
        goto out;
    }
    if (state->last_index != model->last || state->first_index > model->first) {
        snprintf(why, 128, "entries %llu..%llu instead of %llu..%llu",
                 (unsigned long long)state->first_index, (unsigned long long)state->last_index,
                 (unsigned long long)model->first, (unsigned long long)model->last);
        goto out;
    }
    for (uint64_t i = state->first_index; i <= model->last; i++) {
        if (!entry_matches(log, model, i, &scratch, why)) {
            goto out;
        }
    }
    if (sr_raftlog_read(log, state->first_index - 1, &scratch, &entry, NULL) != SR_NOT_FOUND ||
        sr_raftlog_read(log, model->last + 1, &scratch, &entry, NULL) != SR_NOT_FOUND) {
        snprintf(why, 128, "there is an entry beyond the ends");
        goto out;
    }
    good = manifest_matches(log, model, why);
out:
    sr_buf_close(&scratch);
    return good;
}
