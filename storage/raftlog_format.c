/* SPDX-License-Identifier: Apache-2.0
 *
 * The formats of the log: preambles, segment headers, frames. Pure: bytes in, bytes out.
 */
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "storage/raftlog_impl.h"

#define VERSION         1
#define KEY_CHECK_BYTES 8
#define SALT_AT         (SR_LOG_PREAMBLE_BYTES - SR_SALT_BYTES)
#define MAC_AT          (SR_LOG_FRAME_HEADER - SR_SEAL_TAG_BYTES)
#define PLACE_BYTES     16
#define END_MARK        UINT32_C(0x53524e44)
#define END_MARK_BYTES  4

/* ---- Preambles ---- */

/* A few bytes that tell a foreign data key from damage. */
static int key_check(const struct sr_log_identity *identity, uint32_t dek_id,
                     uint8_t out[KEY_CHECK_BYTES], struct sr_err *err)
{
    uint8_t derived[SR_KEY_BYTES];
    int status = sr_keyring_derive(identity->keyring, dek_id, "strongroom log check",
                                   (const uint8_t *)"", 0, derived, err);
    if (status == SR_OK) {
        memcpy(out, derived, KEY_CHECK_BYTES);
    }
    sr_secret_wipe(derived, sizeof(derived));
    return status;
}

static int epoch_sealer(const struct sr_log_identity *identity, uint32_t dek_id,
                        const uint8_t *salt, struct sr_sealer **ret, struct sr_err *err)
{
    uint8_t key[SR_KEY_BYTES];
    int status = sr_keyring_derive(identity->keyring, dek_id, "strongroom log", salt, SR_SALT_BYTES,
                                   key, err);
    if (status == SR_OK) {
        *ret = sr_sealer_new(key);
    }
    sr_secret_wipe(key, sizeof(key));
    return status;
}

int sr_log_epoch_new(const struct sr_log_identity *identity, const char *magic,
                     uint8_t out[SR_LOG_PREAMBLE_BYTES], struct sr_sealer **ret, struct sr_err *err)
{
    uint32_t dek_id = sr_keyring_active_id(identity->keyring);
    memcpy(out, magic, 8);
    sr_put_u32(out + 8, VERSION);
    sr_put_u32(out + 12, 0); /* compatible features */
    sr_put_u32(out + 16, 0); /* incompatible features */
    sr_put_u32(out + 20, dek_id);
    sr_put_u64(out + 24, identity->cluster_id);
    sr_put_u64(out + 32, identity->member_id);
    int status = key_check(identity, dek_id, out + 40, err);
    if (status != SR_OK) {
        return status;
    }
    sr_random_bytes(out + SALT_AT, SR_SALT_BYTES);
    return epoch_sealer(identity, dek_id, out + SALT_AT, ret, err);
}

int sr_log_epoch_open(const struct sr_log_identity *identity, const char *magic,
                      const uint8_t in[SR_LOG_PREAMBLE_BYTES], struct sr_sealer **ret,
                      struct sr_err *err)
{
    uint32_t version = sr_get_u32(in + 8);
    uint32_t incompatible = sr_get_u32(in + 16);
    uint32_t dek_id = sr_get_u32(in + 20);
    uint64_t cluster = sr_get_u64(in + 24);
    uint64_t member = sr_get_u64(in + 32);
    uint8_t check[KEY_CHECK_BYTES];

    if (memcmp(in, magic, 8) != 0) {
        return sr_err_set(err, SR_CORRUPT, "not what the file's name says");
    }
    if (version != VERSION || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT,
                          "format version %u, features %#x: written by a newer version", version,
                          incompatible);
    }
    if (cluster != identity->cluster_id || member != identity->member_id) {
        return sr_err_set(err, SR_KEY, "belongs to member %016llx of cluster %016llx",
                          (unsigned long long)member, (unsigned long long)cluster);
    }
    int status = key_check(identity, dek_id, check, err);
    if (status == SR_NOT_FOUND) {
        return sr_err_set(err, SR_KEY, "sealed under data key %u, which the keyring lacks", dek_id);
    }
    if (status != SR_OK) {
        return status;
    }
    if (memcmp(check, in + 40, KEY_CHECK_BYTES) != 0) {
        return sr_err_set(err, SR_KEY, "sealed under another data key %u than the keyring's",
                          dek_id);
    }
    return epoch_sealer(identity, dek_id, in + SALT_AT, ret, err);
}

/* ---- Segment headers ---- */

#define SEGMENT_TAG_AT (SR_LOG_SECTOR - SR_SEAL_TAG_BYTES)

int sr_log_segment_header_seal(struct sr_log_segment_header *header, struct sr_sealer *sealer,
                               uint8_t out[SR_LOG_SECTOR], struct sr_err *err)
{
    uint8_t *at = out + SR_LOG_PREAMBLE_BYTES;
    memset(out, 0, SR_LOG_SECTOR);
    memcpy(out, header->preamble, SR_LOG_PREAMBLE_BYTES);
    sr_put_u64(at, header->number);
    sr_put_u64(at + 8, header->next_index);
    sr_put_u64(at + 16, header->size);
    sr_put_u64(at + 24, header->before_end);
    memcpy(at + 32, header->before_tag, SR_SEAL_TAG_BYTES);
    uint64_t counter = sr_sealer_next(sealer);
    sr_check(counter == 0); /* as opening takes it to be */
    int status = sr_seal(sealer, SR_DOMAIN_FRAME, counter, out, SEGMENT_TAG_AT, "", 0,
                         out + SEGMENT_TAG_AT, err);
    memcpy(header->tag, out + SEGMENT_TAG_AT, SR_SEAL_TAG_BYTES);
    return status;
}

int sr_log_segment_header_open(const struct sr_log_identity *identity,
                               const uint8_t in[SR_LOG_SECTOR], struct sr_log_segment_header *ret,
                               struct sr_sealer **ret_sealer, struct sr_err *err)
{
    const uint8_t *at = in + SR_LOG_PREAMBLE_BYTES;
    struct sr_sealer *sealer = NULL;
    uint8_t none;

    int status = sr_log_epoch_open(identity, SR_LOG_MAGIC_SEGMENT, in, &sealer, err);
    if (status == SR_OK) {
        status = sr_unseal(sealer, SR_DOMAIN_FRAME, 0, in, SEGMENT_TAG_AT, in + SEGMENT_TAG_AT, 0,
                           &none, err);
    }
    if (status != SR_OK) {
        sr_sealer_free(sealer);
        sr_err_prefix(err, "header");
        return status;
    }
    memcpy(ret->preamble, in, SR_LOG_PREAMBLE_BYTES);
    ret->number = sr_get_u64(at);
    ret->next_index = sr_get_u64(at + 8);
    ret->size = sr_get_u64(at + 16);
    ret->before_end = sr_get_u64(at + 24);
    memcpy(ret->before_tag, at + 32, SR_SEAL_TAG_BYTES);
    memcpy(ret->tag, in + SEGMENT_TAG_AT, SR_SEAL_TAG_BYTES);
    *ret_sealer = sealer;
    return SR_OK;
}

/* ---- Frames ---- */

size_t sr_log_frame_bytes(size_t body)
{
    size_t bytes = SR_LOG_FRAME_HEADER + body + SR_SEAL_TAG_BYTES + END_MARK_BYTES;
    return (bytes + SR_LOG_SECTOR - 1) / SR_LOG_SECTOR * SR_LOG_SECTOR;
}

/* What authenticates @size bytes of header: they and the place. */
static size_t frame_aad(const uint8_t *header, size_t size, struct sr_log_place place,
                        uint8_t out[SR_LOG_FRAME_HEADER + PLACE_BYTES])
{
    memcpy(out, header, size);
    sr_put_u64(out + size, place.number);
    sr_put_u64(out + size + 8, place.offset);
    return size + PLACE_BYTES;
}

int sr_log_frame_seal(struct sr_sealer *sealer, struct sr_log_place place,
                      struct sr_log_frame *frame, const uint8_t *body, uint8_t *out,
                      uint8_t ret_tag[SR_SEAL_TAG_BYTES], struct sr_err *err)
{
    uint8_t aad[SR_LOG_FRAME_HEADER + PLACE_BYTES];
    size_t total = sr_log_frame_bytes(frame->body);
    uint8_t *sealed = out + SR_LOG_FRAME_HEADER;
    uint64_t body_counter;

    frame->counter = sr_sealer_next(sealer);
    body_counter = sr_sealer_next(sealer);
    sr_check(body_counter == frame->counter + 1);
    sr_put_u32(out, SR_LOG_FRAME_MAGIC);
    sr_put_u32(out + 4, 0); /* flags: none yet */
    sr_put_u32(out + 8, frame->body);
    sr_put_u32(out + 12, frame->count);
    sr_put_u64(out + 16, frame->first_index);
    sr_put_u64(out + 24, frame->truncate_from);
    sr_put_u64(out + 32, frame->counter);
    memcpy(out + 40, frame->before, SR_SEAL_TAG_BYTES);
    size_t size = frame_aad(out, MAC_AT, place, aad);
    int status =
        sr_seal(sealer, SR_DOMAIN_FRAME, frame->counter, aad, size, "", 0, out + MAC_AT, err);
    if (status != SR_OK) {
        return status;
    }
    size = frame_aad(out, SR_LOG_FRAME_HEADER, place, aad);
    status =
        sr_seal(sealer, SR_DOMAIN_FRAME, body_counter, aad, size, body, frame->body, sealed, err);
    if (status != SR_OK) {
        return status;
    }
    size_t used = SR_LOG_FRAME_HEADER + frame->body + SR_SEAL_TAG_BYTES;
    memset(out + used, 0, total - used);
    sr_put_u32(out + total - END_MARK_BYTES, END_MARK);
    memcpy(ret_tag, sealed + frame->body, SR_SEAL_TAG_BYTES);
    return SR_OK;
}

int sr_log_frame_header_open(struct sr_sealer *sealer, struct sr_log_place place, const uint8_t *in,
                             struct sr_log_frame *ret, struct sr_err *err)
{
    uint8_t aad[SR_LOG_FRAME_HEADER + PLACE_BYTES];
    uint8_t none;
    uint64_t counter = sr_get_u64(in + 32);

    if (sr_get_u32(in) != SR_LOG_FRAME_MAGIC) {
        return sr_err_set(err, SR_CORRUPT, "no frame begins here");
    }
    size_t size = frame_aad(in, MAC_AT, place, aad);
    int status = sr_unseal(sealer, SR_DOMAIN_FRAME, counter, aad, size, in + MAC_AT, 0, &none, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "frame header");
        return status;
    }
    if (sr_get_u32(in + 4) != 0) {
        return sr_err_set(err, SR_FORMAT, "frame flags %#x: written by a newer version",
                          sr_get_u32(in + 4));
    }
    ret->body = sr_get_u32(in + 8);
    ret->count = sr_get_u32(in + 12);
    ret->first_index = sr_get_u64(in + 16);
    ret->truncate_from = sr_get_u64(in + 24);
    ret->counter = counter;
    memcpy(ret->before, in + 40, SR_SEAL_TAG_BYTES);
    return SR_OK;
}

int sr_log_frame_open(struct sr_sealer *sealer, struct sr_log_place place,
                      const struct sr_log_frame *frame, uint8_t *bytes,
                      uint8_t ret_tag[SR_SEAL_TAG_BYTES], struct sr_err *err)
{
    uint8_t aad[SR_LOG_FRAME_HEADER + PLACE_BYTES];
    uint8_t *sealed = bytes + SR_LOG_FRAME_HEADER;
    size_t total = sr_log_frame_bytes(frame->body);
    size_t used = SR_LOG_FRAME_HEADER + frame->body + SR_SEAL_TAG_BYTES;

    if (!sr_log_is_zero(bytes + used, total - END_MARK_BYTES - used) ||
        sr_get_u32(bytes + total - END_MARK_BYTES) != END_MARK) {
        return sr_err_set(err, SR_CORRUPT, "the end of the frame is damaged");
    }
    memcpy(ret_tag, sealed + frame->body, SR_SEAL_TAG_BYTES);
    size_t size = frame_aad(bytes, SR_LOG_FRAME_HEADER, place, aad);
    return sr_unseal(sealer, SR_DOMAIN_FRAME, frame->counter + 1, aad, size, sealed, frame->body,
                     sealed, err);
}

struct sr_log_entry sr_log_entry_read(struct sr_reader *reader)
{
    struct sr_log_entry entry;
    entry.term = sr_read_u64(reader);
    entry.type = sr_read_u32(reader);
    uint32_t size = sr_read_u32(reader);
    entry.data = sr_read_bytes(reader, size);
    return entry;
}
