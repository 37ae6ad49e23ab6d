/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

#define DIRS_MAX 8

const uint8_t scratch_kek[SR_KEY_BYTES] = "the master key of the fuzzers 32";

static char root[PATH_MAX / 4];
static char dirs[DIRS_MAX][32];
static size_t dir_count;

/* Found before that of the C library. */
ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    static uint64_t state = 1;
    uint8_t *at = out;
    (void)flags;
    for (size_t i = 0; i < size; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        at[i] = (uint8_t)(state >> 56);
    }
    return (ssize_t)size;
}

void scratch_path(const char *name, char out[PATH_MAX])
{
    sr_check(snprintf(out, PATH_MAX, "%s/%s", scratch_dir(), name) < PATH_MAX);
}

static void clean_up(void)
{
    char path[PATH_MAX];
    while (dir_count > 0) {
        scratch_empty(dirs[--dir_count]);
        scratch_path(dirs[dir_count], path);
        (void)rmdir(path);
    }
    scratch_empty(".");
    (void)rmdir(root);
}

const char *scratch_dir(void)
{
    if (root[0] == 0) {
        const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
        base = base != NULL ? base : "/tmp";
        (void)snprintf(root, sizeof(root), "%s/strongroom-fuzz-XXXXXX", base);
        sr_check(mkdtemp(root) != NULL);
        sr_check(atexit(clean_up) == 0);
    }
    return root;
}

void scratch_make_dir(const char *name)
{
    char path[PATH_MAX];
    scratch_path(name, path);
    sr_check(dir_count < DIRS_MAX && mkdir(path, 0700) == 0);
    (void)snprintf(dirs[dir_count], sizeof(dirs[dir_count]), "%s", name);
    dir_count++;
}

void scratch_write(const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    scratch_path(name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    sr_check(fd >= 0);
    sr_check(write(fd, data, size) == (ssize_t)size);
    (void)close(fd);
}

size_t scratch_read(const char *name, struct sr_buf *out)
{
    char path[PATH_MAX];
    struct stat info;
    scratch_path(name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    sr_check(fd >= 0 && fstat(fd, &info) == 0);
    size_t size = (size_t)info.st_size;
    sr_check(read(fd, sr_buf_extend(out, size), size) == info.st_size);
    (void)close(fd);
    return size;
}

void scratch_empty(const char *name)
{
    char path[PATH_MAX];
    scratch_path(name, path);
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

const struct sr_keyring *scratch_keyring(void)
{
    static struct sr_keyring *keyring;
    struct sr_err err;
    char path[PATH_MAX];
    if (keyring == NULL) {
        scratch_path("keyring", path);
        sr_check(sr_keyring_create(path, scratch_kek, SCRATCH_CLUSTER, SCRATCH_MEMBER, &err) ==
                 SR_OK);
        sr_check(sr_keyring_open(path, scratch_kek, SCRATCH_CLUSTER, SCRATCH_MEMBER, &keyring,
                                 &err) == SR_OK);
    }
    return keyring;
}
