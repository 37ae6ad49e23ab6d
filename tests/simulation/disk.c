/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "tests/simulation/files.h"
#include "tests/simulation/world.h"

#define SECTOR 512

static void path_in(char out[128], const char *dir, const char *name)
{
    snprintf(out, 128, "%s/%s", dir, name);
}

/* ---- files ---- */

static void name_of(int fd, char out[32])
{
    char link[64];
    char path[256];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    sr_check(size > 0);
    path[size] = 0;
    snprintf(out, 32, "%.31s", strrchr(path, '/') + 1);
}

static struct disk_file *file_of(struct disk *disk, int fd)
{
    struct stat stat;
    struct disk_file **end = &disk->files;
    sr_check(fstat(fd, &stat) == 0);
    for (; *end != NULL; end = &(*end)->next) {
        if ((*end)->inode == stat.st_ino) {
            return *end;
        }
    }
    struct disk_file *file = sr_zalloc(sizeof(*file));
    file->inode = stat.st_ino;
    name_of(fd, file->name);
    *end = file;
    return file;
}

static struct disk_file *file_named(struct disk *disk, const char *name)
{
    struct disk_file *file = disk->files;
    while (file != NULL && strcmp(file->name, name) != 0) {
        file = file->next;
    }
    return file;
}

static void forget_undo(struct disk_file *file)
{
    while (file->undo != NULL) {
        struct disk_undo *undo = file->undo;
        file->undo = undo->older;
        sr_free(undo);
    }
}

static void forget_file(struct disk *disk, struct disk_file *file)
{
    struct disk_file **link = &disk->files;
    while (*link != file) {
        link = &(*link)->next;
    }
    *link = file->next;
    forget_undo(file);
    sr_free(file);
}

/* ---- the power ---- */

static int gone(struct disk *disk)
{
    disk->dead = true;
    disk->cut_came = true;
    return -EIO;
}

/* Whether the power goes with this operation. */
static bool goes(struct disk *disk)
{
    if (disk->cut_after == 0 || --disk->cut_after > 0) {
        return false;
    }
    world_trace(disk->world, "power goes in mid-operation");
    return true;
}

/* ---- operations ---- */

/* What is there now, zeros past the end; @fd may be for writing only. */
static void read_before(int fd, uint8_t *out, size_t size, uint64_t offset)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    int own = open(link, O_RDONLY | O_CLOEXEC);
    sr_check(own >= 0 && pread(own, out, size, (off_t)offset) >= 0);
    close(own);
}

static void remember(struct disk_file *file, int fd, const void *data, size_t size, uint64_t offset)
{
    struct disk_undo *undo = sr_zalloc(sizeof(*undo) + size);
    read_before(fd, undo->data, size, offset);
    if (memcmp(undo->data, data, size) == 0) {
        sr_free(undo);
        return;
    }
    undo->offset = offset;
    undo->size = size;
    undo->older = file->undo;
    file->undo = undo;
}

static int disk_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    struct disk *disk = arg;
    if (disk->dead) {
        return -EIO;
    }
    struct disk_file *file = file_of(disk, fd);
    if (disk->full && !file->synced_once) {
        return -ENOSPC;
    }
    remember(file, fd, data, size, offset);
    int result = sr_log_disk_real.write(NULL, fd, data, size, offset);
    return goes(disk) ? gone(disk) : result;
}

static void sync_names(struct disk *disk)
{
    char path[128];
    while (disk->renames != NULL) {
        struct disk_rename *change = disk->renames;
        disk->renames = change->older;
        if (change->saved[0] != 0) {
            struct disk_file *file = file_named(disk, change->saved);
            if (file != NULL) {
                forget_file(disk, file);
            }
            path_in(path, disk->grave, change->saved);
            unlink(path);
        }
        sr_free(change);
    }
    for (struct disk_file *file = disk->files; file != NULL; file = file->next) {
        file->name_durable = true;
    }
}

static void sync_file(struct disk_file *file, bool lies)
{
    file->synced_once = true;
    if (!lies) {
        forget_undo(file);
    }
}

static int disk_sync(void *arg, int fd)
{
    struct disk *disk = arg;
    struct stat stat;
    if (disk->dead) {
        return -EIO;
    }
    if (goes(disk)) {
        return gone(disk);
    }
    if (disk->fails) {
        disk->fails = false;
        world_trace(disk->world, "a sync fails");
        return gone(disk);
    }
    sr_check(fstat(fd, &stat) == 0);
    bool lies = world_has_bug(disk->world, WORLD_BUG_LYING_DISK);
    if (!S_ISDIR(stat.st_mode)) {
        sync_file(file_of(disk, fd), lies);
    } else if (!lies) {
        sync_names(disk);
    }
    return 0;
}

/* Move what is called @name out of the way; @saved stays empty when there is nothing. */
static void bury(struct disk *disk, const char *name, char saved[32])
{
    char from[128];
    char to[128];
    char grave[32];
    snprintf(grave, sizeof(grave), "%u", ++disk->graves);
    path_in(from, disk->dir, name);
    path_in(to, disk->grave, grave);
    if (rename(from, to) != 0) {
        return;
    }
    struct disk_file *file = file_named(disk, name);
    if (file != NULL) {
        memcpy(file->name, grave, sizeof(grave));
    }
    memcpy(saved, grave, sizeof(grave));
}

static struct disk_rename *note_rename(struct disk *disk, const char *from, const char *to)
{
    struct disk_rename *change = sr_zalloc(sizeof(*change));
    snprintf(change->from, sizeof(change->from), "%s", from);
    snprintf(change->to, sizeof(change->to), "%s", to);
    change->older = disk->renames;
    disk->renames = change;
    return change;
}

static int disk_rename(void *arg, int dir_fd, const char *from, const char *to)
{
    struct disk *disk = arg;
    if (disk->dead) {
        return -EIO;
    }
    struct disk_rename *change = note_rename(disk, from, to);
    bury(disk, to, change->saved);
    int result = sr_log_disk_real.rename(NULL, dir_fd, from, to);
    struct disk_file *file = file_named(disk, from);
    if (result == 0 && file != NULL) {
        snprintf(file->name, sizeof(file->name), "%s", to);
    }
    return goes(disk) ? gone(disk) : result;
}

static int disk_unlink(void *arg, int dir_fd, const char *name)
{
    struct disk *disk = arg;
    if (disk->dead) {
        return -EIO;
    }
    if (faccessat(dir_fd, name, F_OK, 0) != 0) {
        return -ENOENT;
    }
    struct disk_rename *change = note_rename(disk, name, "");
    bury(disk, name, change->saved);
    return goes(disk) ? gone(disk) : 0;
}

/* ---- a power cut ---- */

/* Of each sector of an unsynced write, what was before is there again, or what was written. */
static void undo_sectors(struct disk *disk, const struct disk_undo *undo, FILE *file)
{
    size_t at = 0;
    while (at < undo->size) {
        size_t room = SECTOR - (undo->offset + at) % SECTOR;
        size_t part = undo->size - at < room ? undo->size - at : room;
        if (world_chance(disk->world, 2)) {
            sr_check(pwrite(fileno(file), undo->data + at, part, (off_t)(undo->offset + at)) ==
                     (ssize_t)part);
        }
        at += part;
    }
}

static void cut_file(struct disk *disk, struct disk_file *file, const char *path)
{
    struct stat stat;
    FILE *stream = fopen(path, "r+");
    sr_check(stream != NULL);
    bool all = world_chance(disk->world, 3); /* nothing of it was written yet */
    for (const struct disk_undo *undo = file->undo; undo != NULL; undo = undo->older) {
        if (all) {
            sr_check(pwrite(fileno(stream), undo->data, undo->size, (off_t)undo->offset) ==
                     (ssize_t)undo->size);
        } else {
            undo_sectors(disk, undo, stream);
        }
    }
    if (!file->synced_once && world_chance(disk->world, 2)) {
        sr_check(fstat(fileno(stream), &stat) == 0);
        uint64_t sectors = world_random(disk->world, (uint64_t)stat.st_size / SECTOR + 1);
        sr_check(ftruncate(fileno(stream), (off_t)(sectors * SECTOR)) == 0);
    }
    fclose(stream);
    forget_undo(file);
}

static void cut_names(struct disk *disk)
{
    char from[128];
    char to[128];
    char saved[128];
    for (struct disk_rename *change = disk->renames; change != NULL; change = change->older) {
        path_in(from, disk->dir, change->from);
        path_in(to, disk->dir, change->to);
        path_in(saved, disk->grave, change->saved);
        struct disk_file *file = file_named(disk, change->to[0] != 0 ? change->to : change->saved);
        if (!world_chance(disk->world, 2)) { /* it had reached the disk */
            if (change->to[0] != 0 && file != NULL) {
                file->name_durable = true;
            }
            continue;
        }
        if (change->to[0] != 0) {
            sr_check(rename(to, from) == 0);
            if (file != NULL) {
                memcpy(file->name, change->from, sizeof(file->name));
            }
            file = file_named(disk, change->saved);
            memcpy(from, to, sizeof(from));
        }
        if (change->saved[0] != 0 && access(from, F_OK) != 0) {
            sr_check(rename(saved, from) == 0);
            if (file != NULL) {
                const char *name = change->to[0] != 0 ? change->to : change->from;
                snprintf(file->name, sizeof(file->name), "%s", name);
            }
        }
    }
}

static bool is_buried(const struct disk_file *file)
{
    return file->name[0] >= '1' && file->name[0] <= '9';
}

void disk_cut(struct disk *disk)
{
    char path[128];
    struct disk_file *next = NULL;
    cut_names(disk);
    for (struct disk_file *file = disk->files; file != NULL; file = next) {
        next = file->next;
        if (is_buried(file)) {
            continue; /* deleted, and that was durable: sync_names forgets it */
        }
        path_in(path, disk->dir, file->name);
        if (!file->name_durable && world_chance(disk->world, 2)) {
            unlink(path);
            forget_file(disk, file);
            continue;
        }
        if (file->undo != NULL || !file->synced_once) {
            cut_file(disk, file, path);
        }
    }
    sync_names(disk);
    for (struct disk_file *file = disk->files; file != NULL; file = file->next) {
        file->synced_once = true;
    }
    disk->cut_after = 0;
    disk->cut_came = false;
    disk->dead = true;
}

void disk_revive(struct disk *disk)
{
    disk->dead = false;
    disk->fails = false;
}

void disk_init(struct disk *disk, struct world *world, const char *dir)
{
    *disk = (struct disk){.world = world};
    snprintf(disk->dir, sizeof(disk->dir), "%s/log", dir);
    snprintf(disk->grave, sizeof(disk->grave), "%s/grave", dir);
    files_make_dir(disk->dir);
    files_make_dir(disk->grave);
    disk->io = (struct sr_log_disk){.write = disk_write,
                                    .sync = disk_sync,
                                    .rename = disk_rename,
                                    .unlink = disk_unlink,
                                    .arg = disk};
}

void disk_close(struct disk *disk)
{
    sync_names(disk);
    while (disk->files != NULL) {
        forget_file(disk, disk->files);
    }
    files_remove_dir(disk->dir);
    files_remove_dir(disk->grave);
}
