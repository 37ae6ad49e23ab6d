/* SPDX-License-Identifier: Apache-2.0
 *
 * The Raft log at a start: damaged, it is refused, or what it gives is in order. The first byte of
 * the input modulo 3 chooses:
 *
 *   0  changes to the files of a log, of four bytes each: file, offset u16, byte
 *   1  frames that are put into its newest segment behind the seal, which no fuzzer would find:
 *      count u8, first index u8, truncate from u8, size of the body u16, body
 *   2  the manifest behind its seal, and libraft's configuration in it
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "node/consensus/internal.h"
#include "scratch.h"
#include "storage/raftlog_impl.h"

#define FILES         4
#define CHANGE_BYTES  4
#define SEGMENT_BYTES 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[FILES] = {"log/vote", "log/manifest", "log/0000000000000001.seg",
                                         "log/0000000000000002.seg"};
static struct sr_buf whole[FILES];

static int open_log(struct sr_raftlog **ret, struct sr_raftlog_state *ret_state, struct sr_err *err)
{
    char path[PATH_MAX];
    scratch_path("log", path);
    struct sr_raftlog_options options = {.dir = path,
                                         .keyring = scratch_keyring(),
                                         .cluster_id = SCRATCH_CLUSTER,
                                         .member_id = SCRATCH_MEMBER,
                                         .segment_bytes = SEGMENT_BYTES};
    return sr_raftlog_open(&options, ret, ret_state, err);
}

static void append(struct sr_raftlog *log, uint64_t term, unsigned count)
{
    struct sr_err err;
    uint8_t bytes[40];
    sr_check(sr_raftlog_set_vote(log, term, 1, &err) == SR_OK);
    memset(bytes, (int)term, sizeof(bytes));
    for (unsigned i = 0; i < count; i++) {
        struct sr_log_entry entry = {term, SR_ENTRY_COMMAND, {bytes, sizeof(bytes) - i}};
        sr_raftlog_append(log, &entry, 1);
        sr_check(sr_raftlog_sync(log, &err) == SR_OK);
    }
}

/* Two segments; the newest one has a frame that voids an entry of the other. */
static void make_whole(void)
{
    struct sr_err err;
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    scratch_make_dir("log");
    sr_check(open_log(&log, &state, &err) == SR_OK);
    append(log, 1, 3);
    sr_check(sr_raftlog_put_manifest(log, "manifest", 8, &err) == SR_OK);
    sr_raftlog_close(log);
    sr_check(open_log(&log, &state, &err) == SR_OK && state.last_index == 3);
    sr_raftlog_truncate(log, 3);
    append(log, 2, 2);
    sr_raftlog_close(log);
    for (size_t i = 0; i < FILES; i++) {
        (void)scratch_read(names[i], &whole[i]);
    }
}

static void restore(void)
{
    scratch_empty("log");
    for (size_t i = 0; i < FILES; i++) {
        scratch_write(names[i], whole[i].data, whole[i].size);
    }
}

static void read_back(void)
{
    struct sr_err err;
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    if (open_log(&log, &state, &err) != SR_OK) {
        return;
    }
    sr_check(state.first_index <= state.last_index + 1);
    for (uint64_t i = state.first_index; i <= state.last_index; i++) {
        sr_check(sr_raftlog_read(log, i, &scratch, &entry, &err) == SR_OK);
        sr_check(entry.term <= state.term);
    }
    (void)sr_raftlog_get_manifest(log, &scratch, &err);
    append(log, state.term, 1);
    sr_check(sr_raftlog_read(log, state.last_index + 1, &scratch, &entry, &err) == SR_OK);
    sr_buf_close(&scratch);
    sr_raftlog_close(log);
}

/* ---- Damage ---- */

static void damage(const uint8_t *data, size_t size)
{
    struct sr_buf changed[FILES] = {{0}};
    for (size_t i = 0; i < FILES; i++) {
        sr_buf_append(&changed[i], whole[i].data, whole[i].size);
    }
    for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
        struct sr_buf *file = &changed[data[0] % FILES];
        size_t at = (size_t)data[1] << 8 | data[2];
        if (data[0] / FILES == 1) {
            file->size = at < file->size ? at : file->size; /* cut */
        } else if (at < file->size) {
            file->data[at] = data[3];
        }
    }
    for (size_t i = 0; i < FILES; i++) {
        scratch_write(names[i], changed[i].data, changed[i].size);
        sr_buf_close(&changed[i]);
    }
    read_back();
}

/* ---- Behind the seal ---- */

static uint64_t widen(uint8_t byte)
{
    return byte < 0xf0 ? byte : UINT64_MAX - (0xff - byte);
}

static void put_frames(const uint8_t *data, size_t size)
{
    struct sr_reader reader = sr_reader_of(data, size);
    struct sr_log_identity identity = {scratch_keyring(), SCRATCH_CLUSTER, SCRATCH_MEMBER};
    struct sr_log_segment_header header;
    struct sr_sealer *sealer = NULL;
    struct sr_buf file = {0};
    struct sr_err err;
    uint8_t tag[SR_SEAL_TAG_BYTES];
    uint64_t offset = SR_LOG_SECTOR;
    sr_buf_append(&file, whole[FILES - 1].data, whole[FILES - 1].size);
    memset(file.data + SR_LOG_SECTOR, 0, file.size - SR_LOG_SECTOR);
    sr_check(sr_log_segment_header_open(&identity, file.data, &header, &sealer, &err) == SR_OK);
    memcpy(tag, header.tag, sizeof(tag));
    while (sr_reader_left(&reader) > 0) {
        struct sr_log_frame frame = {.count = (uint32_t)widen(sr_read_u8(&reader)),
                                     .first_index = widen(sr_read_u8(&reader)),
                                     .truncate_from = widen(sr_read_u8(&reader))};
        size_t body = sr_read_u16(&reader);
        size_t left = sr_reader_left(&reader);
        struct sr_bytes bytes = sr_read_bytes(&reader, body < left ? body : left);
        frame.body = (uint32_t)bytes.size;
        if (sr_log_frame_bytes(frame.body) > file.size - offset) {
            break;
        }
        memcpy(frame.before, tag, sizeof(tag));
        sr_check(sr_log_frame_seal(sealer, (struct sr_log_place){header.number, offset}, &frame,
                                   bytes.size == 0 ? tag : bytes.data, file.data + offset, tag,
                                   &err) == SR_OK);
        offset += sr_log_frame_bytes(frame.body);
    }
    sr_sealer_free(sealer);
    scratch_write(names[FILES - 1], file.data, file.size);
    sr_buf_close(&file);
    read_back();
}

static void check_manifest(const uint8_t *data, size_t size)
{
    struct sr_core_manifest manifest;
    struct sr_buf again = {0};
    struct sr_err err;
    struct sr_bytes packed = {data, size};
    if (sr_core_configuration_check(packed, &err) == SR_OK) {
        sr_check(size > 0);
    }
    if (sr_core_manifest_unpack(packed, &manifest, &err) == SR_OK) {
        sr_core_manifest_pack(&manifest, &again);
        sr_check(sr_bytes_equal((struct sr_bytes){again.data, again.size}, packed));
    }
    sr_buf_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (whole[0].size == 0) {
        sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
        make_whole();
    }
    if (size == 0) {
        return 0;
    }
    if (data[0] % 3 == 2) {
        check_manifest(data + 1, size - 1);
        return 0;
    }
    restore();
    if (data[0] % 3 == 0) {
        damage(data + 1, size - 1);
    } else {
        put_frames(data + 1, size - 1);
    }
    return 0;
}
