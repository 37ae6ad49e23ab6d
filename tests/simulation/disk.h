/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk under one member's log. Files are real, in memory; what is not yet synced is known, and
 * a power cut takes it back: any of its 512-byte sectors, and names that no sync of the directory
 * has made durable. That a process dies takes nothing back.
 */
#ifndef SR_TESTS_SIMULATION_DISK_H
#define SR_TESTS_SIMULATION_DISK_H

#include <sys/types.h>

#include "storage/raftlog.h"

struct world;

/* Bytes as they were before an unsynced write, the newest first. */
struct disk_undo {
    struct disk_undo *older;
    uint64_t offset;
    size_t size;
    uint8_t data[];
};

struct disk_file {
    struct disk_file *next; /* in the order in which they were first written to */
    ino_t inode;
    char name[32];
    bool name_durable;
    bool synced_once;
    struct disk_undo *undo;
};

/* A name that was changed and not yet synced, the newest first. */
struct disk_rename {
    struct disk_rename *older;
    char from[32];
    char to[32];    /* empty: deleted */
    char saved[32]; /* what was under the name before, in the grave; empty: nothing */
};

struct disk {
    struct world *world;
    char dir[80];   /* of the log */
    char grave[80]; /* where deleted files wait until that is durable */
    struct disk_file *files;
    struct disk_rename *renames;
    unsigned graves;
    bool full;             /* nothing new can be allocated */
    bool fails;            /* the next sync does */
    bool dead;             /* the power is gone */
    unsigned cut_after;    /* operations until it goes; 0: not decided */
    bool cut_came;         /* by cut_after, or a failure that must look like it */
    struct sr_log_disk io; /* for sr_raftlog_open */
};

void disk_init(struct disk *disk, struct world *world, const char *dir);
/* Take back some of what was not synced; the directory is as a start finds it. */
void disk_cut(struct disk *disk);
/* The power is back. */
void disk_revive(struct disk *disk);
void disk_close(struct disk *disk); /* deletes what is left */

#endif
