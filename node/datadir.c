/* SPDX-License-Identifier: Apache-2.0 */
#include "node/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32.h"
#include "base/secret.h"

#define FORMAT_NUMBER   1
#define FORMAT_TEXT_MAX 512
#define CHECKSUM_LINE   "crc32=%08" PRIx32

static int join(char *out, const char *dir, const char *name, struct sr_err *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    if (size < 0 || size >= PATH_MAX) {
        return sr_err_set(err, SR_INVALID, "data_dir: path is too long");
    }
    return SR_OK;
}

static int make_dir(const char *path, struct sr_err *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        return sr_err_errno(err, SR_IO, errno, "create directory %s", path);
    }
    return SR_OK;
}

static bool exists(const char *dir, const char *name)
{
    char path[PATH_MAX];
    return join(path, dir, name, NULL) == SR_OK && access(path, F_OK) == 0;
}

static int take_lock(struct sr_datadir *dir, struct sr_err *err)
{
    char path[PATH_MAX];
    if (join(path, dir->path, "lock", err) != SR_OK) {
        return SR_INVALID;
    }
    dir->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (dir->lock_fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    if (flock(dir->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? sr_err_set(err, SR_REFUSED, "data_dir %s is in use by another strongroomd",
                                dir->path)
                   : sr_err_errno(err, SR_IO, errno, "lock %s", path);
    }
    return SR_OK;
}

/* ---- The format file ---- */

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

static int write_synced(const char *path, const char *text, struct sr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "create %s", path);
    }
    size_t size = strlen(text);
    ssize_t written = write(fd, text, size);
    int failed = written < 0 ? errno : written != (ssize_t)size ? ENOSPC : 0;
    if (failed == 0 && fsync(fd) != 0) {
        failed = errno;
    }
    close(fd);
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "write %s", path);
}

static int write_format(const struct sr_datadir *dir, struct sr_err *err)
{
    char text[FORMAT_TEXT_MAX];
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    snprintf(text, sizeof(text),
             "strongroom data directory\n"
             "format=%d\ncompatible=%" PRIx64 "\nincompatible=0\n"
             "cluster=%016" PRIx64 "\nmember=%016" PRIx64 "\nincarnation=%016" PRIx64
             "\nremoved=%d\nstarted=%d\n",
             FORMAT_NUMBER, dir->compatible, dir->cluster_id, dir->member_id, dir->incarnation,
             dir->removed, dir->started);
    size_t size = strlen(text);
    snprintf(text + size, sizeof(text) - size, CHECKSUM_LINE "\n", sr_crc32(text, size));
    if (join(path, dir->path, "format", err) != SR_OK ||
        join(fresh, dir->path, "format.new", err) != SR_OK) {
        return SR_INVALID;
    }
    int status = write_synced(fresh, text, err);
    if (status != SR_OK) {
        return status;
    }
    if (rename(fresh, path) != 0) {
        return sr_err_errno(err, SR_IO, errno, "rename %s", fresh);
    }
    return sync_dir(dir->path, err);
}

/* SR_NOT_FOUND (without @err) when there is none. */
static int read_format_text(const struct sr_datadir *dir, char *text, struct sr_err *err)
{
    char path[PATH_MAX];
    if (join(path, dir->path, "format", err) != SR_OK) {
        return SR_INVALID;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return SR_NOT_FOUND;
    }
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    ssize_t size = read(fd, text, FORMAT_TEXT_MAX - 1);
    int failed = size < 0 ? errno : 0;
    close(fd);
    if (failed != 0) {
        return sr_err_errno(err, SR_IO, failed, "read %s", path);
    }
    text[size] = '\0';
    return SR_OK;
}

/* The number behind "\n<name>=", up to the end of its line. */
static bool read_field(const char *text, const char *name, int base, uint64_t *ret_value)
{
    char start[32];
    snprintf(start, sizeof(start), "\n%s=", name);
    const char *at = strstr(text, start);
    if (at == NULL) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    *ret_value = strtoull(at + strlen(start), &end, base);
    return errno == 0 && end != at + strlen(start) && *end == '\n';
}

/* The last line is the CRC-32 of those before it. */
static bool is_whole(const char *text)
{
    char expected[32];
    const char *last = strstr(text, "\ncrc32=");
    if (last == NULL) {
        return false;
    }
    last++;
    snprintf(expected, sizeof(expected), CHECKSUM_LINE "\n", sr_crc32(text, (size_t)(last - text)));
    return strcmp(last, expected) == 0;
}

static int check_format(struct sr_datadir *dir, const char *text, struct sr_err *err)
{
    static const char title[] = "strongroom data directory\n";
    uint64_t format = 0;
    uint64_t incompatible = 0;
    uint64_t cluster = 0;
    uint64_t member = 0;
    uint64_t started = 0;
    uint64_t removed = 0; /* absent in directories of version 0.1 */
    if (strncmp(text, title, strlen(title)) != 0 || !read_field(text, "format", 10, &format)) {
        return sr_err_set(err, SR_FORMAT, "%s/format is not a Strongroom format file", dir->path);
    }
    if (format > FORMAT_NUMBER) {
        return sr_err_set(err, SR_FORMAT,
                          "data_dir %s has format %" PRIu64
                          ", written by a newer version; this one knows up to %d",
                          dir->path, format, FORMAT_NUMBER);
    }
    if (!is_whole(text) || format < 1 || !read_field(text, "compatible", 16, &dir->compatible) ||
        !read_field(text, "incompatible", 16, &incompatible) ||
        !read_field(text, "cluster", 16, &cluster) || !read_field(text, "member", 16, &member) ||
        !read_field(text, "started", 10, &started)) {
        return sr_err_set(err, SR_CORRUPT, "%s/format is cut or damaged", dir->path);
    }
    if (incompatible != 0) {
        return sr_err_set(err, SR_FORMAT,
                          "data_dir %s uses features 0x%" PRIx64 " that this version does not know",
                          dir->path, incompatible);
    }
    if (cluster != dir->cluster_id) {
        return sr_err_set(err, SR_REFUSED,
                          "data_dir %s belongs to another cluster (%016" PRIx64
                          "; the configuration makes %016" PRIx64 ")",
                          dir->path, cluster, dir->cluster_id);
    }
    if (member != dir->member_id) {
        return sr_err_set(err, SR_REFUSED,
                          "data_dir %s belongs to another member (%016" PRIx64
                          "; the configuration makes %016" PRIx64 ")",
                          dir->path, member, dir->member_id);
    }
    dir->started = started != 0;
    if (!read_field(text, "incarnation", 16, &dir->incarnation)) {
        dir->incarnation = 0;
    }
    if (read_field(text, "removed", 10, &removed) && removed != 0) {
        return sr_err_set(err, SR_REMOVED,
                          "data_dir %s is that of member %016" PRIx64
                          ", which was removed from the cluster and cannot come back; to use this "
                          "machine again, add a member anew and give it an empty data_dir",
                          dir->path, member);
    }
    return SR_OK;
}

/* ---- Birth and opening ---- */

/* A directory without a format file: new, or its birth was cut short. */
static int give_birth(struct sr_datadir *dir, const char *keyring_path, const uint8_t *kek,
                      struct sr_err *err)
{
    if (exists(dir->log_path, "vote") || exists(dir->state_path, "data.mdb")) {
        return sr_err_set(err, SR_CORRUPT, "data_dir %s has data but no format file", dir->path);
    }
    if (unlink(keyring_path) != 0 && errno != ENOENT) {
        return sr_err_errno(err, SR_IO, errno, "remove %s", keyring_path);
    }
    if (getrandom(&dir->incarnation, sizeof(dir->incarnation), 0) != sizeof(dir->incarnation)) {
        return sr_err_errno(err, SR_INTERNAL, errno, "draw a number");
    }
    int status = sr_keyring_create(keyring_path, kek, dir->cluster_id, dir->member_id, err);
    return status != SR_OK ? status : write_format(dir, err);
}

static int check_parts(const struct sr_datadir *dir, const char *keyring_path, struct sr_err *err)
{
    const char *lost = NULL;
    if (access(keyring_path, F_OK) != 0) {
        lost = "keyring";
    } else if (dir->started && !exists(dir->log_path, "vote")) {
        lost = "log/vote";
    } else if (dir->started && !exists(dir->state_path, "data.mdb") &&
               !exists(dir->path, "incoming/complete")) {
        lost = "state/data.mdb";
    }
    if (lost == NULL) {
        return SR_OK;
    }
    return sr_err_set(err, SR_CORRUPT,
                      "data_dir %s has lost %s: this node must not vote any more; rebuild it from "
                      "its peers",
                      dir->path, lost);
}

static int open_keyring(struct sr_datadir *dir, const char *kek_file, struct sr_err *err)
{
    char path[PATH_MAX];
    char text[FORMAT_TEXT_MAX];
    uint8_t *kek = NULL;
    int status = join(path, dir->path, "keyring", err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_kek_read(kek_file, &kek, err);
    if (status != SR_OK) {
        return sr_err_prefix(err, "kek_file");
    }
    status = read_format_text(dir, text, err);
    if (status == SR_NOT_FOUND) {
        status = give_birth(dir, path, kek, err);
    } else if (status == SR_OK) {
        status = check_format(dir, text, err);
        if (status == SR_OK) {
            status = check_parts(dir, path, err);
        }
    }
    if (status == SR_OK) {
        status = sr_keyring_open(path, kek, dir->cluster_id, dir->member_id, &dir->keyring, err);
    }
    sr_secret_free(kek, SR_KEY_BYTES);
    return status;
}

int sr_datadir_open(const struct sr_config *config, struct sr_datadir *ret_dir, struct sr_err *err)
{
    struct sr_datadir dir = {
        .lock_fd = -1, .cluster_id = config->cluster.id, .member_id = sr_config_self(config)->id};
    int status = SR_OK;
    if (snprintf(dir.path, sizeof(dir.path), "%s", config->data_dir) >= (int)sizeof(dir.path)) {
        return sr_err_set(err, SR_INVALID, "data_dir: path is too long");
    }
    if ((status = join(dir.log_path, dir.path, "log", err)) != SR_OK ||
        (status = join(dir.state_path, dir.path, "state", err)) != SR_OK ||
        (status = make_dir(dir.path, err)) != SR_OK || (status = take_lock(&dir, err)) != SR_OK ||
        (status = make_dir(dir.log_path, err)) != SR_OK ||
        (status = make_dir(dir.state_path, err)) != SR_OK ||
        (status = open_keyring(&dir, config->kek_file, err)) != SR_OK) {
        sr_datadir_close(&dir);
        return status;
    }
    *ret_dir = dir;
    return SR_OK;
}

int sr_datadir_identity(const char *path, uint64_t *ret_cluster_id, uint64_t *ret_member_id,
                        struct sr_err *err)
{
    struct sr_datadir dir = {.lock_fd = -1};
    char text[FORMAT_TEXT_MAX];
    if (snprintf(dir.path, sizeof(dir.path), "%s", path) >= (int)sizeof(dir.path)) {
        return sr_err_set(err, SR_INVALID, "%s: path is too long", path);
    }
    int status = read_format_text(&dir, text, err);
    if (status == SR_NOT_FOUND) {
        return sr_err_set(err, SR_NOT_FOUND, "there is no data directory of a node");
    }
    if (status == SR_OK) {
        /* Whatever it says is what is expected; the rest is checked. */
        (void)read_field(text, "cluster", 16, &dir.cluster_id);
        (void)read_field(text, "member", 16, &dir.member_id);
        status = check_format(&dir, text, err);
    }
    *ret_cluster_id = dir.cluster_id;
    *ret_member_id = dir.member_id;
    return status;
}

int sr_datadir_mark_started(struct sr_datadir *dir, struct sr_err *err)
{
    if (dir->started) {
        return SR_OK;
    }
    dir->started = true;
    return write_format(dir, err);
}

int sr_datadir_mark_removed(struct sr_datadir *dir, struct sr_err *err)
{
    dir->removed = true;
    return write_format(dir, err);
}

void sr_datadir_close(struct sr_datadir *dir)
{
    sr_keyring_close(dir->keyring);
    dir->keyring = NULL;
    if (dir->lock_fd >= 0) {
        close(dir->lock_fd);
        dir->lock_fd = -1;
    }
}
