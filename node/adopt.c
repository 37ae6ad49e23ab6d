/* SPDX-License-Identifier: Apache-2.0
 *
 * What is found at a start, and what follows:
 *
 *   no complete                           nothing was adopted, or all of it
 *   complete, incoming/state, state       from the beginning
 *   complete, incoming/state              the old state is aside already: move the new one in
 *   complete, state                       the state is the new one: the log is next
 */
#include "node/adopt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "node/consensus/log_begin.h"

/* What nobody has added to for so long is not wanted any more. */
#define STALE_S ((time_t)24 * 3600)

struct paths {
    char database[PATH_MAX]; /* of the state that is in its place */
    char incoming[PATH_MAX];
    char staged[PATH_MAX];
    char complete[PATH_MAX];
    char replaced[PATH_MAX];
};

static int join(char out[PATH_MAX], const char *dir, const char *name, struct sr_err *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return size >= 0 && size < PATH_MAX ? SR_OK
                                        : sr_err_set(err, SR_INVALID, "%s: too long a path", dir);
}

static int paths_of(const struct sr_datadir *dir, struct paths *ret, struct sr_err *err)
{
    int status = join(ret->incoming, dir->path, "incoming", err);
    if (status == SR_OK) {
        status = join(ret->database, dir->state_path, "data.mdb", err);
    }
    if (status == SR_OK) {
        status = join(ret->staged, dir->path, "incoming/state", err);
    }
    if (status == SR_OK) {
        status = join(ret->complete, dir->path, "incoming/complete", err);
    }
    if (status == SR_OK) {
        status = join(ret->replaced, dir->path, "replaced", err);
    }
    return status;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int sync_dir(const char *path, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "sync %s", path);
}

static int move(const char *from, const char *to, struct sr_err *err)
{
    return rename(from, to) == 0 ? SR_OK
                                 : sr_err_errno(err, SR_IO, errno, "rename %s to %s", from, to);
}

/* The files of @path, which has no directories, and itself; nothing there is fine. */
static int remove_dir(const char *path, struct sr_err *err)
{
    DIR *dir = opendir(path);
    int failed = 0;
    if (dir == NULL) {
        return errno == ENOENT ? SR_OK : sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
            failed = errno;
        }
    }
    closedir(dir);
    if (failed == 0 && rmdir(path) != 0) {
        failed = errno;
    }
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "remove %s", path);
}

/* ---- While the node runs ---- */

int sr_incoming_open(const struct sr_datadir *dir, char ret_path[PATH_MAX], struct sr_err *err)
{
    struct paths paths;
    int status = paths_of(dir, &paths, err);
    if (status != SR_OK) {
        return status;
    }
    if (exists(paths.complete)) {
        return sr_err_set(err, SR_EXISTS, "%s: an image waits for a start", paths.incoming);
    }
    if ((mkdir(paths.incoming, 0700) != 0 && errno != EEXIST) ||
        (mkdir(paths.staged, 0700) != 0 && errno != EEXIST)) {
        return sr_err_errno(err, SR_IO, errno, "create %s", paths.staged);
    }
    memcpy(ret_path, paths.staged, sizeof(paths.staged));
    status = sync_dir(paths.incoming, err);
    return status == SR_OK ? sync_dir(dir->path, err) : status;
}

int sr_incoming_complete(const struct sr_datadir *dir, struct sr_err *err)
{
    struct paths paths;
    int status = paths_of(dir, &paths, err);
    if (status == SR_OK) {
        status = sync_dir(paths.staged, err);
    }
    if (status != SR_OK) {
        return status;
    }
    int fd = open(paths.complete, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "create %s", paths.complete);
    }
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    if (failed != 0) {
        return sr_err_errno(err, SR_IO, failed, "sync %s", paths.complete);
    }
    return sync_dir(paths.incoming, err);
}

bool sr_incoming_is_complete(const struct sr_datadir *dir)
{
    struct paths paths;
    return paths_of(dir, &paths, NULL) == SR_OK && exists(paths.complete);
}

/* The mark goes first: what is left after a crash is then an image that is not whole. */
static int discard(const struct sr_datadir *dir, const struct paths *paths, struct sr_err *err)
{
    if (!exists(paths->incoming)) {
        return SR_OK;
    }
    if (unlink(paths->complete) != 0 && errno != ENOENT) {
        return sr_err_errno(err, SR_IO, errno, "remove %s", paths->complete);
    }
    int status = sync_dir(paths->incoming, err);
    if (status == SR_OK) {
        status = remove_dir(paths->staged, err);
    }
    if (status == SR_OK) {
        status = remove_dir(paths->incoming, err);
    }
    return status == SR_OK ? sync_dir(dir->path, err) : status;
}

int sr_incoming_discard(const struct sr_datadir *dir, struct sr_err *err)
{
    struct paths paths;
    int status = paths_of(dir, &paths, err);
    return status == SR_OK ? discard(dir, &paths, err) : status;
}

/* ---- At a start ---- */

struct adoption {
    const struct sr_datadir *dir;
    const struct sr_adopt_options *options;
    struct paths paths;
    struct sr_store_point point;
    struct sr_raftlog *log;
    struct sr_raftlog_state log_state;
};

static void step(const struct adoption *adoption)
{
    if (adoption->options->step != NULL) {
        adoption->options->step(adoption->options->arg);
    }
}

/* The point of the new state, wherever it is. */
static int read_point(struct adoption *adoption, const char *path, struct sr_err *err)
{
    struct sr_store_options options = adoption->options->store;
    struct sr_store *store = NULL;
    options.dir = path;
    options.must_exist = true;
    int status = sr_store_open(&options, &store, err);
    if (status == SR_OK) {
        sr_store_point(store, &adoption->point);
        sr_store_close(store);
    }
    return status;
}

static int open_log(struct adoption *adoption, struct sr_err *err)
{
    int status =
        sr_raftlog_open(&adoption->options->log, &adoption->log, &adoption->log_state, err);
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "open log");
}

/* Swap the states. What is left of an earlier adoption goes first. */
static int swap(struct adoption *adoption, struct sr_err *err)
{
    const struct paths *paths = &adoption->paths;
    const struct sr_datadir *dir = adoption->dir;
    int status = SR_OK;
    if (!exists(paths->database)) {
        status = remove_dir(dir->state_path, err);
    } else {
        status = remove_dir(paths->replaced, err);
        step(adoption);
        if (status == SR_OK) {
            status = move(dir->state_path, paths->replaced, err);
        }
        step(adoption);
        if (status == SR_OK) {
            status = sync_dir(dir->path, err);
        }
        step(adoption);
    }
    if (status == SR_OK) {
        status = move(paths->staged, dir->state_path, err);
    }
    step(adoption);
    if (status == SR_OK) {
        status = sync_dir(dir->path, err);
    }
    if (status == SR_OK) {
        status = sync_dir(paths->incoming, err);
    }
    step(adoption);
    return status;
}

/* The mark goes when everything else is durable; then there is only rubbish left. */
static int clean_up(struct adoption *adoption, struct sr_err *err)
{
    int status = discard(adoption->dir, &adoption->paths, err);
    step(adoption);
    return status == SR_OK ? remove_dir(adoption->paths.replaced, err) : status;
}

/* The image cannot be used, and the old state is whole: go on without it. */
static int refuse(struct adoption *adoption, const char *reason, struct sr_err *err)
{
    sr_log(SR_LOG_WARN, "node", "an image that came is not taken", "reason=\"%s\"", reason);
    return discard(adoption->dir, &adoption->paths, err);
}

static int take_over(struct adoption *adoption, bool staged, struct sr_err *err)
{
    int status = staged ? swap(adoption, err) : SR_OK;
    if (status == SR_OK) {
        status = sr_log_begin_after(adoption->log, &adoption->log_state, &adoption->point, err);
    }
    step(adoption);
    if (status == SR_OK) {
        sr_log(SR_LOG_INFO, "node", "an image is adopted",
               "index=%" PRIu64 " term=%" PRIu64 " revision=%" PRId64, adoption->point.index,
               adoption->point.term, adoption->point.revision);
        status = clean_up(adoption, err);
    }
    step(adoption);
    return status;
}

static int adopt(struct adoption *adoption, struct sr_err *err)
{
    bool staged = exists(adoption->paths.staged);
    bool whole = exists(adoption->paths.database);
    bool beyond = false;
    int status =
        read_point(adoption, staged ? adoption->paths.staged : adoption->dir->state_path, err);
    if (status != SR_OK) {
        return staged && whole && err->status != SR_NO_SPACE ? refuse(adoption, err->text, err)
                                                             : status;
    }
    status = open_log(adoption, err);
    if (status == SR_OK && staged && whole) {
        status =
            sr_log_is_beyond(adoption->log, &adoption->log_state, &adoption->point, &beyond, err);
    }
    if (status != SR_OK) {
        return status;
    }
    return beyond ? refuse(adoption, "the log is ahead of it", err)
                  : take_over(adoption, staged, err);
}

/* Something that was staged long ago and never completed. */
static int clean_stale(const struct sr_datadir *dir, const struct paths *paths, struct sr_err *err)
{
    char path[PATH_MAX];
    struct stat stat_of;
    int status = join(path, paths->staged, "data.mdb", err);
    if (status != SR_OK || !exists(paths->incoming)) {
        return status;
    }
    if (stat(path, &stat_of) == 0 && time(NULL) - stat_of.st_mtime < STALE_S) {
        return SR_OK; /* to be gone on with */
    }
    return discard(dir, paths, err);
}

int sr_adopt(const struct sr_datadir *dir, const struct sr_adopt_options *options,
             struct sr_err *err)
{
    struct adoption adoption = {.dir = dir, .options = options};
    int status = paths_of(dir, &adoption.paths, err);
    if (status != SR_OK) {
        return status;
    }
    if (!exists(adoption.paths.complete)) {
        status = clean_stale(dir, &adoption.paths, err);
        return status == SR_OK && exists(adoption.paths.database)
                   ? remove_dir(adoption.paths.replaced, err)
                   : status;
    }
    status = adopt(&adoption, err);
    sr_buf_close(&adoption.point.configuration);
    sr_raftlog_close(adoption.log);
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "adopt the image in %s", dir->path);
}
