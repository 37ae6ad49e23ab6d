/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the log share: a directory, a keyring, directories as images in memory, a
 * model of what the log must hold, and disks that record or fail.
 */
#ifndef SR_TESTS_RAFTLOG_FIXTURE_H
#define SR_TESTS_RAFTLOG_FIXTURE_H

#include "tests/unit/cmocka.h"

#include <stdbool.h>

#include "storage/raftlog.h"

#define CLUSTER UINT64_C(0xc1)
#define MEMBER  UINT64_C(0x3e)

extern char fx_dir[64]; /* of the log under test */
extern struct sr_keyring *fx_keyring;
extern const struct sr_log_disk fx_disk_fast; /* the real one, but sync does nothing */

int fx_set_up(void **state);
int fx_tear_down(void **state);
uint64_t fx_random(void);
void fx_seed(uint64_t seed);

/* ---- Directories ---- */

#define FX_FILES_MAX 64

struct fx_file {
    char name[32];
    uint8_t *data;
    size_t size;
};

struct fx_image {
    struct fx_file files[FX_FILES_MAX];
    size_t count;
};

void fx_image_read(struct fx_image *image, const char *dir);
/* Make @dir hold exactly what the image does. */
void fx_image_write(const struct fx_image *image, const char *dir);
void fx_image_close(struct fx_image *image);
bool fx_image_equal(const struct fx_image *a, const struct fx_image *b);
struct fx_file *fx_image_find(struct fx_image *image, const char *name);
struct fx_file *fx_image_add(struct fx_image *image, const char *name);
void fx_image_remove(struct fx_image *image, const char *name);
void fx_image_copy(struct fx_image *to, const struct fx_image *from);
void fx_file_write(struct fx_file *file, size_t offset, const uint8_t *data, size_t size);

/* ---- The model ---- */

#define FX_ENTRIES_MAX 4096

struct fx_entry {
    uint64_t term;
    uint32_t type;
    uint32_t size;
    uint32_t seed; /* its bytes follow from this */
};

struct fx_model {
    struct fx_entry entries[FX_ENTRIES_MAX]; /* by index */
    uint64_t first; /* the log may hold entries before this; it must hold this one */
    uint64_t last;
    uint64_t term;
    uint64_t voted_for;
    uint32_t manifest; /* its seed; 0: none */
};

/* Do it to the log's memory and to the model. */
void fx_append(struct sr_raftlog *log, struct fx_model *model, size_t size);
void fx_truncate(struct sr_raftlog *log, struct fx_model *model, uint64_t index);
void fx_put_manifest(struct sr_raftlog *log, struct fx_model *model, struct sr_err *err,
                     int *ret_status);

int fx_open(const struct sr_log_disk *disk, size_t segment_bytes, struct sr_raftlog **ret,
            struct sr_raftlog_state *ret_state, struct sr_err *err);
/* Whether the open log has exactly what the model says; @why says what differs. */
bool fx_matches(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                const struct fx_model *model, char why[128]);

#endif
