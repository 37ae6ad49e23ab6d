/* SPDX-License-Identifier: Apache-2.0 */
#include "node/recover/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "storage/file.h"

#define PIECE_BYTES ((size_t)1024 * 1024)
/* Of what is removed slowly: some gigabytes take some seconds. */
#define STEP_BYTES    ((off_t)16 * 1024 * 1024)
#define STEP_PAUSE_NS (10 * 1000 * 1000L)

static int join(char out[PATH_MAX], const char *dir, const char *name, struct sr_err *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return size >= 0 && size < PATH_MAX ? SR_OK
                                        : sr_err_set(err, SR_INVALID, "%s: too long a path", dir);
}

static int copy_bytes(int in, int out, struct sr_err *err)
{
    uint8_t *piece = sr_alloc(PIECE_BYTES);
    uint64_t offset = 0;
    int64_t got = 0;
    int failed = 0;
    while (failed == 0 && (got = sr_file_pread(in, piece, PIECE_BYTES, offset)) > 0) {
        failed = sr_file_pwrite(out, piece, (size_t)got, offset);
        offset += (uint64_t)got;
    }
    sr_free(piece);
    failed = got < 0 ? (int)got : failed;
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, -failed, "copy");
}

static int copy_file(const char *from, const char *to, uint64_t *changed_ms, struct sr_err *err)
{
    struct stat stat_of;
    int status = SR_OK;
    int out = -1;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &stat_of) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "open %s", from);
        goto out;
    }
    out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) {
        status = sr_err_errno(err, SR_IO, errno, "create %s", to);
        goto out;
    }
    uint64_t written_ms =
        (uint64_t)stat_of.st_mtim.tv_sec * 1000 + (uint64_t)stat_of.st_mtim.tv_nsec / 1000000;
    *changed_ms = written_ms > *changed_ms ? written_ms : *changed_ms;
    status = copy_bytes(in, out, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "%s", from);
    }
out:
    if (in >= 0) {
        close(in);
    }
    if (out >= 0) {
        close(out);
    }
    return status;
}

/* Its files; it has no directories. */
static int copy_dir(const char *from, const char *to, uint64_t *changed_ms, struct sr_err *err)
{
    char in[PATH_MAX];
    char out[PATH_MAX];
    int status = SR_OK;
    DIR *dir = opendir(from);
    if (dir == NULL) {
        return sr_err_errno(err, SR_IO, errno, "open %s", from);
    }
    if (mkdir(to, 0700) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "create %s", to);
    }
    while (status == SR_OK) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) { /* a file that was not seen would be a loss that nobody notices */
            status = errno == 0 ? SR_OK : sr_err_errno(err, SR_IO, errno, "read %s", from);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "lock.mdb") == 0) {
            continue;
        }
        status = join(in, from, entry->d_name, err);
        if (status == SR_OK) {
            status = join(out, to, entry->d_name, err);
        }
        if (status == SR_OK) {
            status = copy_file(in, out, changed_ms, err);
        }
    }
    closedir(dir);
    return status;
}

int sr_copy_datadir(const char *from, const char *to, uint64_t *ret_changed_ms, struct sr_err *err)
{
    static const char *const dirs[] = {"log", "state"};
    char in[PATH_MAX];
    char out[PATH_MAX];
    uint64_t keyring_ms = 0; /* says nothing about a node that runs */
    int status = SR_OK;
    *ret_changed_ms = 0;
    if (mkdir(to, 0700) != 0) {
        return sr_err_errno(err, SR_IO, errno, "create %s", to);
    }
    if ((status = join(in, from, "keyring", err)) != SR_OK ||
        (status = join(out, to, "keyring", err)) != SR_OK ||
        (status = copy_file(in, out, &keyring_ms, err)) != SR_OK) {
        return status;
    }
    for (size_t i = 0; status == SR_OK && i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if ((status = join(in, from, dirs[i], err)) == SR_OK &&
            (status = join(out, to, dirs[i], err)) == SR_OK) {
            status = copy_dir(in, out, ret_changed_ms, err);
        }
    }
    return status;
}

static int remove_one(const char *path, const struct stat *stat_of, int type, struct FTW *walk)
{
    (void)stat_of;
    (void)type;
    (void)walk;
    return remove(path);
}

/* By and by. What cannot be is left to who removes it. */
static void shorten(const char *path, off_t size, const atomic_bool *stop)
{
    const struct timespec pause = {.tv_nsec = STEP_PAUSE_NS};
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    while (fd >= 0 && size > STEP_BYTES && (stop == NULL || !atomic_load(stop))) {
        size -= STEP_BYTES;
        if (ftruncate(fd, size) != 0) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    if (fd >= 0) {
        close(fd);
    }
}

int sr_copy_remove_slowly(const char *path, const atomic_bool *stop, struct sr_err *err)
{
    char *const roots[] = {(char *)(uintptr_t)path, NULL}; /* fts does not write there */
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    const FTSENT *entry = NULL;
    while (walk != NULL && (entry = fts_read(walk)) != NULL) {
        if (entry->fts_info == FTS_F) {
            shorten(entry->fts_path, entry->fts_statp->st_size, stop);
        }
    }
    if (walk != NULL) {
        (void)fts_close(walk);
    }
    return sr_copy_remove(path, err);
}

int sr_copy_remove(const char *path, struct sr_err *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT) {
        return sr_err_errno(err, SR_IO, errno, "remove %s", path);
    }
    return SR_OK;
}
