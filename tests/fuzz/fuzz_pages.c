/* SPDX-License-Identifier: Apache-2.0
 *
 * A damaged LMDB file at a start: it is refused, or all that LMDB then reads of it is the truth or
 * an error. The first byte of the input chooses:
 *
 *   even  the rest is the file, for the check of pages alone (LMDB would not take its page size)
 *   odd   the rest are changes to the file of a store, of five bytes each: page u8, offset u16,
 *         and a u16 that is put there, or a byte when its upper half is 0
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "scratch.h"
#include "storage/image.h"
#include "storage/pages.h"
#include "storage/store_internal.h"

#define PAGE         4096u
#define CHANGE_BYTES 5
#define KEYS         40

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct sr_buf whole; /* the file of a store, as it was closed */

static struct sr_store *open_store(struct sr_err *err)
{
    struct sr_store *store = NULL;
    char path[PATH_MAX];
    scratch_path("state", path);
    struct sr_store_options options = {.dir = path,
                                       .keyring = scratch_keyring(),
                                       .cluster_id = SCRATCH_CLUSTER,
                                       .member_id = SCRATCH_MEMBER,
                                       .must_exist = whole.size > 0,
                                       .unindexed_entries_max = 1,
                                       .map_bytes = (size_t)64 * 1024 * 1024};
    return sr_store_open(&options, &store, err) == SR_OK ? store : NULL;
}

static void put(struct sr_store *store, unsigned number, size_t size)
{
    uint8_t value[2 * PAGE];
    uint8_t name[2] = {'k', (uint8_t)(number % KEYS)};
    int64_t revision = store->apply.revision + 1;
    struct sr_version version = {.mod_revision = revision,
                                 .create_revision = revision,
                                 .version = 1,
                                 .value_size = (uint32_t)size};
    memset(value, (int)number, size);
    sr_writer_add(store, (struct sr_bytes){name, sizeof(name)}, (struct sr_bytes){value, size},
                  &version);
    store->apply.revision = revision;
    sr_store_publish(store, store->apply.applied_index + 1);
}

/* Branches, overflow pages and free ones: everything that a page can be. */
static void make_whole(void)
{
    struct sr_err err;
    scratch_make_dir("state");
    struct sr_store *store = open_store(&err);
    sr_check(store != NULL);
    for (unsigned i = 0; i < 4 * KEYS; i++) {
        put(store, i, i % 16 == 0 ? 2 * PAGE : i);
        if (i % KEYS == KEYS - 1) {
            (void)sr_store_freeze(store, true);
            sr_check(sr_store_flush(store, &err) == SR_OK);
        }
    }
    sr_store_close(store);
    (void)scratch_read("state/data.mdb", &whole);
}

static void change(struct sr_buf *file, const uint8_t *data, size_t size)
{
    for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
        size_t at = data[0] * (size_t)PAGE + (((size_t)data[1] << 8 | data[2]) % (PAGE - 1));
        if (at + 1 < file->size) {
            file->data[at] = data[4];
            file->data[at + 1] = data[3] == 0 ? file->data[at + 1] : data[3];
        }
    }
}

static void read_all(void)
{
    struct sr_err err;
    struct sr_store *store = open_store(&err);
    uint64_t bytes = 0;
    if (store != NULL) {
        (void)sr_image_scrub(store, &bytes, &err);
    }
    sr_store_close(store);
}

static int in_order(void *arg, struct sr_bytes a, struct sr_bytes b)
{
    (void)arg;
    return sr_bytes_compare(a, b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct sr_pages_visitor visitor = {.compare = in_order};
    struct sr_buf file = {0};
    struct sr_err err;
    bool empty = false;
    char path[PATH_MAX];
    if (whole.size == 0) {
        sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
        make_whole();
    }
    if (size == 0) {
        return 0;
    }
    bool is_change = data[0] % 2 == 1;
    if (is_change) {
        sr_buf_append(&file, whole.data, whole.size);
        change(&file, data + 1, size - 1);
    } else {
        sr_buf_append(&file, data + 1, size - 1);
    }
    scratch_write("state/data.mdb", file.data, file.size);
    scratch_path("state/data.mdb", path);
    int status = sr_pages_check(path, "idx", &empty, &err);
    sr_check(!empty || file.size == 0);
    if (status == SR_OK && !is_change && !empty) {
        (void)sr_pages_check_table(path, "idx", &visitor, &err);
    } else if (status == SR_OK && is_change) {
        read_all();
    }
    sr_buf_close(&file);
    return 0;
}
