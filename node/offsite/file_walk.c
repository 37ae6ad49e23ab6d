/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/file_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "node/offsite/target_impl.h"

/* Directories still to be read are names with a "/" at the end, in a list of their own. */
static void add(struct sr_file_names *names, const char *name)
{
    if (names->count == names->capacity) {
        names->capacity = names->capacity == 0 ? 64 : names->capacity * 2;
        names->names = sr_realloc(names->names, names->capacity * sizeof(*names->names));
    }
    names->names[names->count++] = sr_strdup(name);
}

void sr_file_names_close(struct sr_file_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        sr_free(names->names[i]);
    }
    sr_free(names->names);
    memset(names, 0, sizeof(*names));
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Whether something below directory @name ("a/b/") can begin with @prefix. */
static bool may_match(const char *name, const char *prefix)
{
    size_t name_size = strlen(name);
    size_t prefix_size = strlen(prefix);
    return strncmp(name, prefix, name_size < prefix_size ? name_size : prefix_size) == 0;
}

static void sort_in(DIR *dir, const struct dirent *entry, const char *parent, const char *prefix,
                    struct sr_file_names *files, struct sr_file_names *dirs)
{
    char name[SR_TARGET_NAME_MAX + 1];
    struct stat info;
    int size = snprintf(name, sizeof(name), "%s%s", parent, entry->d_name);
    if (size >= SR_TARGET_NAME_MAX || !sr_target_name_is_valid(name) ||
        fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return;
    }
    if (S_ISREG(info.st_mode) && strncmp(name, prefix, strlen(prefix)) == 0) {
        add(files, name);
    } else if (S_ISDIR(info.st_mode)) {
        memcpy(name + size, "/", 2);
        if (may_match(name, prefix)) {
            add(dirs, name);
        }
    }
}

static int walk_one(const char *root, const char *parent, const char *prefix,
                    struct sr_file_names *files, struct sr_file_names *dirs, struct sr_err *err)
{
    char path[PATH_MAX + SR_TARGET_NAME_MAX];
    snprintf(path, sizeof(path), "%s/%s", root, parent);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT && parent[0] != 0
                   ? SR_OK
                   : sr_err_errno(err, errno == EACCES ? SR_REFUSED : SR_IO, errno,
                                  "read the directory");
    }
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        sort_in(dir, entry, parent, prefix, files, dirs);
        errno = 0;
    }
    int status = errno == 0 ? SR_OK : sr_err_errno(err, SR_IO, errno, "read the directory");
    closedir(dir);
    return status;
}

int sr_file_walk(const char *dir, const char *prefix, struct sr_file_names *names,
                 struct sr_err *err)
{
    struct sr_file_names dirs = {0};
    int status = walk_one(dir, "", prefix, names, &dirs, err);
    for (size_t i = 0; i < dirs.count && status == SR_OK; i++) {
        status = walk_one(dir, dirs.names[i], prefix, names, &dirs, err);
    }
    sr_file_names_close(&dirs);
    if (names->count > 0) {
        qsort(names->names, names->count, sizeof(*names->names), compare);
    }
    return status;
}
