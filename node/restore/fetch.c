/* SPDX-License-Identifier: Apache-2.0
 *
 *   look at what is there ──► whole groups that fit ──get the rest──► each group compared
 *                                                        │ one differs
 *                                                        └── get from there, once more
 */
#include "node/restore/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/write_behind.h"
#include "storage/file.h"

#define PIECE_BYTES ((size_t)256 * 1024)
#define NO_GROUP    SIZE_MAX

struct fetching {
    struct sr_fetch *fetch;
    const struct sr_manifest *manifest;
    int fd;
    uint64_t size;      /* that the manifest says */
    uint64_t offset;    /* of what is there */
    EVP_MD_CTX *digest; /* of the group that is begun */
    bool differs;       /* the group that just ended does */
    size_t again;       /* the group that was fetched once more; NO_GROUP: none yet */
    struct sr_write_behind behind;
};

/* ---- Paths ---- */

int sr_fetch_path(const struct sr_fetch *fetch, const struct sr_manifest *manifest,
                  char ret_path[PATH_MAX], struct sr_err *err)
{
    int size = snprintf(ret_path, PATH_MAX, "%s/%s", fetch->dir, manifest->said->object);
    if (size < 0 || size + 8 >= PATH_MAX) {
        return sr_err_set(err, SR_INVALID, "%s: too long a path", fetch->dir);
    }
    for (char *at = ret_path + strlen(fetch->dir) + 1; *at != '\0'; at++) {
        *at = (char)(*at == '/' ? '-' : *at);
    }
    return SR_OK;
}

static void part_path(const char *path, char ret_path[PATH_MAX + 8])
{
    snprintf(ret_path, PATH_MAX + 8, "%s.part", path);
}

/* ---- Groups ---- */

static void begin_group(struct fetching *fetching)
{
    sr_check(EVP_DigestInit_ex2(fetching->digest, EVP_sha256(), NULL) == 1);
}

static size_t group_at(uint64_t offset)
{
    return (size_t)(offset / SR_ARCHIVE_GROUP_BYTES);
}

static uint64_t group_end(const struct fetching *fetching, size_t group)
{
    uint64_t end = ((uint64_t)group + 1) * SR_ARCHIVE_GROUP_BYTES;
    return end < fetching->size ? end : fetching->size;
}

/* Whether the group that just became whole is that of the manifest. */
static bool group_fits(struct fetching *fetching, size_t group)
{
    uint8_t sum[EVP_MAX_MD_SIZE];
    sr_check(group < fetching->manifest->said->n_groups);
    sr_check(EVP_DigestFinal_ex(fetching->digest, sum, NULL) == 1);
    begin_group(fetching);
    return memcmp(sum, fetching->manifest->said->groups[group].data, SR_ARCHIVE_DIGEST_BYTES) == 0;
}

/* ---- What is there from before ---- */

static int read_group(struct fetching *fetching, uint64_t end, uint8_t *piece, uint64_t *ret_at,
                      struct sr_err *err)
{
    uint64_t at = *ret_at;
    while (at < end) {
        uint64_t left = end - at;
        int64_t got =
            sr_file_pread(fetching->fd, piece, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES, at);
        if (got < 0) {
            return sr_err_errno(err, SR_IO, (int)-got, "read what is there");
        }
        if (got == 0) {
            break;
        }
        sr_check(EVP_DigestUpdate(fetching->digest, piece, (size_t)got) == 1);
        at += (uint64_t)got;
    }
    *ret_at = at;
    return SR_OK;
}

static int check_stopping(const struct sr_fetch *fetch, struct sr_err *err)
{
    return fetch->stopping != NULL && atomic_load(fetch->stopping)
               ? sr_err_set(err, SR_CLOSED, "it is to stop")
               : SR_OK;
}

/* The groups from the beginning that are whole and fit; what is behind them goes. */
static int keep_groups(struct fetching *fetching, struct sr_err *err)
{
    uint8_t *piece = sr_alloc(PIECE_BYTES);
    bool fits = true;
    int status = SR_OK;
    begin_group(fetching);
    while (status == SR_OK && fits && fetching->offset < fetching->size) {
        size_t group = group_at(fetching->offset);
        uint64_t end = group_end(fetching, group);
        uint64_t at = fetching->offset;
        status = check_stopping(fetching->fetch, err);
        if (status == SR_OK) {
            status = read_group(fetching, end, piece, &at, err);
        }
        fits = status == SR_OK && at == end && group_fits(fetching, group);
        fetching->offset = fits ? end : fetching->offset;
    }
    sr_free(piece);
    if (status == SR_OK && ftruncate(fetching->fd, (off_t)fetching->offset) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "cut what does not fit");
    }
    begin_group(fetching);
    fetching->fetch->kept_bytes += fetching->offset;
    return status;
}

/* ---- What is fetched ---- */

static int take_part(struct fetching *fetching, const uint8_t *data, size_t size,
                     struct sr_err *err)
{
    int failed = sr_file_pwrite(fetching->fd, data, size, fetching->offset);
    if (failed == 0 && fetching->fetch->can_wait) {
        failed = sr_write_behind_to(&fetching->behind, fetching->offset + size);
    }
    if (failed != 0) {
        return sr_err_errno(err, SR_IO, -failed, "write");
    }
    sr_check(EVP_DigestUpdate(fetching->digest, data, size) == 1);
    size_t group = group_at(fetching->offset);
    fetching->offset += size;
    if (fetching->offset == group_end(fetching, group) && !group_fits(fetching, group)) {
        fetching->differs = true;
        fetching->offset = (uint64_t)group * SR_ARCHIVE_GROUP_BYTES;
        return sr_err_set(err, SR_CORRUPT, "it differs");
    }
    return SR_OK;
}

static int take(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct fetching *fetching = arg;
    struct sr_fetch *fetch = fetching->fetch;
    const uint8_t *at = data;
    int status = check_stopping(fetch, err);
    fetch->fetched_bytes += size;
    while (status == SR_OK && size > 0) {
        uint64_t room = group_end(fetching, group_at(fetching->offset)) - fetching->offset;
        size_t part = size < room ? size : (size_t)room;
        if (fetching->offset == fetching->size) {
            static const uint8_t none[SR_MANIFEST_HASH_BYTES];
            return sr_manifest_check_object(fetching->manifest, fetching->size + 1, none, err);
        }
        status = take_part(fetching, at, part, err);
        at += part;
        size -= part;
    }
    if (status == SR_OK && fetch->progress != NULL) {
        fetch->progress(fetch->arg, fetching->manifest, fetching->offset);
    }
    return status;
}

/* The object ends before @offset: how long is it? */
static int explain_end(const struct fetching *fetching, struct sr_err *err)
{
    static const uint8_t none[SR_MANIFEST_HASH_BYTES];
    const char *name = fetching->manifest->said->object;
    struct sr_target_object object;
    int status = sr_target_head(fetching->fetch->target, name, &object, err);
    if (status != SR_OK) {
        return status;
    }
    return object.size < fetching->size
               ? sr_manifest_check_object(fetching->manifest, object.size, none, err)
               : sr_err_set(err, SR_AGAIN, "%s: it changed while it was fetched", name);
}

static int refuse_group(const struct fetching *fetching, struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT,
                      "edited: %s has other bytes between %" PRIu64 " and %" PRIu64
                      " than its manifest says, also when fetched again",
                      fetching->manifest->said->object, fetching->offset,
                      group_end(fetching, fetching->again));
}

/* A group that differs is gone back to. SR_OK: get once more from there. */
static int go_back(struct fetching *fetching, struct sr_err *err)
{
    size_t group = group_at(fetching->offset);
    fetching->differs = false;
    if (group == fetching->again) {
        return refuse_group(fetching, err);
    }
    fetching->again = group;
    if (ftruncate(fetching->fd, (off_t)fetching->offset) != 0) {
        return sr_err_errno(err, SR_IO, errno, "cut what does not fit");
    }
    begin_group(fetching);
    sr_write_behind_begin(&fetching->behind, fetching->fd, fetching->offset, true);
    return SR_OK;
}

static int get_rest(struct fetching *fetching, struct sr_err *err)
{
    static const uint8_t none[SR_MANIFEST_HASH_BYTES];
    struct sr_target *target = fetching->fetch->target;
    const char *name = fetching->manifest->said->object;
    struct sr_err local = {0};
    int status = SR_OK;
    do {
        status = sr_target_get(target, name, fetching->offset, 0, take, fetching, &local);
    } while (fetching->differs && (status = go_back(fetching, &local)) == SR_OK);
    if (status == SR_INVALID && fetching->offset > 0) {
        status = explain_end(fetching, &local);
    }
    if (status == SR_NOT_FOUND) {
        return sr_err_set(err, status, "truncated: %s is not there, although its manifest is (%s)",
                          name, local.text);
    }
    if (status == SR_OK && fetching->offset < fetching->size) {
        return sr_manifest_check_object(fetching->manifest, fetching->offset, none, err);
    }
    return status == SR_OK ? SR_OK : sr_err_set(err, status, "%s", local.text);
}

/* ---- One archive ---- */

static int fetch_into(struct fetching *fetching, const char *part, const char *path,
                      struct sr_err *err)
{
    fetching->fd = open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fetching->fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", part);
    }
    int status = keep_groups(fetching, err);
    if (status != SR_OK) {
        return sr_err_prefix(err, "%s", part);
    }
    if (fetching->offset < fetching->size) {
        sr_write_behind_begin(&fetching->behind, fetching->fd, fetching->offset, true);
        status = get_rest(fetching, err);
    }
    if (status == SR_OK && rename(part, path) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "rename %s", part);
    }
    return status;
}

int sr_fetch_archive(struct sr_fetch *fetch, const struct sr_manifest *manifest, struct sr_err *err)
{
    struct fetching fetching = {.fetch = fetch,
                                .manifest = manifest,
                                .fd = -1,
                                .size = manifest->said->size,
                                .again = NO_GROUP};
    char path[PATH_MAX];
    char part[PATH_MAX + 8];
    int status = sr_fetch_path(fetch, manifest, path, err);
    if (status != SR_OK) {
        return status;
    }
    part_path(path, part);
    /* What was whole is looked at again, as what was not. */
    if (rename(path, part) != 0 && errno != ENOENT) {
        return sr_err_errno(err, SR_IO, errno, "rename %s", path);
    }
    fetching.digest = EVP_MD_CTX_new();
    sr_check(fetching.digest != NULL);
    status = fetch_into(&fetching, part, path, err);
    EVP_MD_CTX_free(fetching.digest);
    if (fetching.fd >= 0) {
        close(fetching.fd);
    }
    return status;
}

/* ---- Room ---- */

static uint64_t size_of(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

int sr_fetch_room(const struct sr_fetch *fetch, const struct sr_manifest *const *manifests,
                  size_t count, uint64_t *ret_wanted, uint64_t *ret_free, struct sr_err *err)
{
    struct statvfs disk;
    uint64_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        char part[PATH_MAX + 8];
        int status = sr_fetch_path(fetch, manifests[i], path, err);
        if (status != SR_OK) {
            return status;
        }
        part_path(path, part);
        uint64_t there = size_of(path) + size_of(part);
        wanted += there < manifests[i]->said->size ? manifests[i]->said->size - there : 0;
    }
    if (statvfs(fetch->dir, &disk) != 0) {
        return sr_err_errno(err, SR_IO, errno, "look at the disk of %s", fetch->dir);
    }
    *ret_wanted = wanted;
    *ret_free = (uint64_t)disk.f_bavail * disk.f_frsize;
    return SR_OK;
}
