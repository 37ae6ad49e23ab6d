/* SPDX-License-Identifier: Apache-2.0
 *
 * Term and vote, and which segments there are: two slots of a sector each, written in turn, so
 * that the other one always stays. A slot that is neither valid nor untouched is damage, for a
 * sector is written whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/file.h"
#include "storage/raftlog_impl.h"

#define NAME         "vote"
#define FILE_BYTES   ((size_t)2 * SR_LOG_SECTOR)
#define CLEAR_BYTES  (SR_LOG_PREAMBLE_BYTES + 16)
#define SEALED_BYTES 32
#define SLOT_BYTES   (CLEAR_BYTES + SEALED_BYTES + SR_SEAL_TAG_BYTES)

/* One slot; a sequence of 0 when it was never written. */
static int open_slot(struct sr_raftlog *log, const uint8_t *slot, struct sr_log_vote *ret,
                     struct sr_err *err)
{
    struct sr_sealer *sealer = NULL;
    uint8_t plain[SEALED_BYTES];

    memset(ret, 0, sizeof(*ret));
    if (sr_log_is_zero(slot, SR_LOG_SECTOR)) {
        return SR_OK;
    }
    int status = sr_log_epoch_open(&log->identity, SR_LOG_MAGIC_VOTE, slot, &sealer, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_unseal(sealer, SR_DOMAIN_VOTE, sr_get_u64(slot + SR_LOG_PREAMBLE_BYTES + 8), slot,
                       CLEAR_BYTES, slot + CLEAR_BYTES, SEALED_BYTES, plain, err);
    sr_sealer_free(sealer);
    if (status != SR_OK) {
        return status;
    }
    if (!sr_log_is_zero(slot + SLOT_BYTES, SR_LOG_SECTOR - SLOT_BYTES)) {
        return sr_err_set(err, SR_CORRUPT, "not zero after its end");
    }
    ret->sequence = sr_get_u64(slot + SR_LOG_PREAMBLE_BYTES);
    ret->term = sr_get_u64(plain);
    ret->voted_for = sr_get_u64(plain + 8);
    ret->newest = sr_get_u64(plain + 16);
    ret->oldest = sr_get_u64(plain + 24);
    return SR_OK;
}

/* Both slots: the later one counts, and the other one must be the one before it, in its place. */
static int choose_slot(struct sr_raftlog *log, const uint8_t *file, struct sr_err *err)
{
    struct sr_log_vote slots[2];
    for (size_t i = 0; i < 2; i++) {
        int status = open_slot(log, file + i * SR_LOG_SECTOR, &slots[i], err);
        if (status != SR_OK) {
            sr_err_prefix(err, "slot %zu", i);
            return status;
        }
        if (slots[i].sequence != 0 && slots[i].sequence % 2 != i) {
            return sr_err_set(err, SR_CORRUPT, "slot %zu: in the other's place", i);
        }
    }
    const struct sr_log_vote *later = &slots[slots[1].sequence > slots[0].sequence];
    const struct sr_log_vote *earlier = later == &slots[0] ? &slots[1] : &slots[0];
    if (later->sequence != 0 && earlier->sequence != later->sequence - 1) {
        return sr_err_set(err, SR_CORRUPT, "its slots do not follow each other");
    }
    log->vote = *later;
    return SR_OK;
}

int sr_log_vote_load(struct sr_raftlog *log, bool *ret_found, struct sr_err *err)
{
    uint8_t file[FILE_BYTES + 1];

    *ret_found = false;
    memset(&log->vote, 0, sizeof(log->vote));
    log->vote_fd = openat(log->dir_fd, NAME, O_RDWR | O_CLOEXEC);
    if (log->vote_fd < 0) {
        return errno == ENOENT ? SR_OK : sr_err_errno(err, SR_IO, errno, "open " NAME);
    }
    /* What a process that died has written, but not synced, may still be in memory alone, and
     * what it failed to sync may be there and look clean: read what the disk has. */
    int status = sr_log_sync(log, log->vote_fd, NAME, err);
    if (status != SR_OK) {
        return status;
    }
    posix_fadvise(log->vote_fd, 0, 0, POSIX_FADV_DONTNEED);
    int64_t size = sr_file_pread(log->vote_fd, file, sizeof(file), 0);
    if (size < 0) {
        return sr_err_errno(err, SR_IO, (int)-size, "read " NAME);
    }
    *ret_found = true;
    if ((size_t)size != FILE_BYTES) {
        if ((size_t)size < FILE_BYTES && sr_log_is_zero(file, (size_t)size)) {
            *ret_found = false; /* its creation was cut short */
            close(log->vote_fd);
            log->vote_fd = -1;
            return SR_OK;
        }
        return sr_err_set(err, SR_CORRUPT, "vote file: %lld bytes instead of %zu", (long long)size,
                          FILE_BYTES);
    }
    status = choose_slot(log, file, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "vote file");
    }
    return status;
}

int sr_log_vote_create(struct sr_raftlog *log, struct sr_err *err)
{
    static const uint8_t zeros[FILE_BYTES];
    sr_check(log->vote_fd < 0);
    log->vote_fd = openat(log->dir_fd, NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (log->vote_fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "create " NAME);
    }
    int status = sr_log_write(log, log->vote_fd, zeros, sizeof(zeros), 0, NAME, err);
    if (status == SR_OK) {
        status = sr_log_sync(log, log->vote_fd, NAME, err);
    }
    if (status == SR_OK) {
        status = sr_log_sync(log, log->dir_fd, "the log's directory", err);
    }
    return status;
}

int sr_log_vote_begin(struct sr_raftlog *log, struct sr_err *err)
{
    sr_check(log->vote_sealer == NULL);
    return sr_log_epoch_new(&log->identity, SR_LOG_MAGIC_VOTE, log->vote_preamble,
                            &log->vote_sealer, err);
}

int sr_log_vote_store(struct sr_raftlog *log, struct sr_err *err)
{
    uint8_t slot[SR_LOG_SECTOR] = {0};
    uint8_t plain[SEALED_BYTES];
    uint64_t counter = sr_sealer_next(log->vote_sealer);

    log->vote.sequence++;
    memcpy(slot, log->vote_preamble, SR_LOG_PREAMBLE_BYTES);
    sr_put_u64(slot + SR_LOG_PREAMBLE_BYTES, log->vote.sequence);
    sr_put_u64(slot + SR_LOG_PREAMBLE_BYTES + 8, counter);
    sr_put_u64(plain, log->vote.term);
    sr_put_u64(plain + 8, log->vote.voted_for);
    sr_put_u64(plain + 16, log->vote.newest);
    sr_put_u64(plain + 24, log->vote.oldest);
    int status = sr_seal(log->vote_sealer, SR_DOMAIN_VOTE, counter, slot, CLEAR_BYTES, plain,
                         SEALED_BYTES, slot + CLEAR_BYTES, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_log_write(log, log->vote_fd, slot, sizeof(slot),
                          log->vote.sequence % 2 * SR_LOG_SECTOR, NAME, err);
    if (status != SR_OK) {
        return sr_log_fail(log, err); /* the space for it was there */
    }
    status = sr_log_sync(log, log->vote_fd, NAME, err);
    if (status == SR_OK) {
        atomic_store(&log->durable_term, log->vote.term);
    }
    return status;
}

int sr_raftlog_set_vote(struct sr_raftlog *log, uint64_t term, uint64_t voted_for,
                        struct sr_err *err)
{
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    sr_log_lock(&log->vote_mutex);
    sr_check(term >= log->vote.term);
    log->vote.term = term;
    log->vote.voted_for = voted_for;
    status = sr_log_vote_store(log, err);
    sr_log_unlock(&log->vote_mutex);
    return status;
}
