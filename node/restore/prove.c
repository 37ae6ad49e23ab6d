/* SPDX-License-Identifier: Apache-2.0
 *
 *   plan ──► room? ──► fetch ──► stage, read back, compare ──► a result, signed
 *     └────────┴─────────┴─────────┴──► whose fault? the archive's: a bad result; ours or the
 *                                       target's: an error
 */
#include "node/restore/prove.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/recover/copy.h"
#include "node/restore/stage.h"
#include "storage/seal.h"

/* A snapshot may be pruned, or a shipment withdrawn, between a list and what is read after it. */
#define PLANS_MAX 3
#define PAUSE_MS  1000
/* An archive, and what it becomes: at least so many times as much. */
#define ROOM_FACTOR 3

struct proving {
    const struct sr_prove_options *options;
    struct sr_proved *proved;
    struct sr_plan *plan;
    struct sr_fetch fetch;
    char fetched[PATH_MAX];
    char state[PATH_MAX];
    char keyring_path[PATH_MAX];
    struct sr_keyring *keyring;
    uint64_t cluster_id; /* of the scratch state */
    uint64_t member_id;
    bool is_known; /* which archive it is about */
};

static bool is_stopped(const struct proving *proving)
{
    const atomic_bool *stop = proving->options->stop;
    return stop != NULL && atomic_load(stop);
}

static void tell(const struct proving *proving, const char *doing, uint64_t done, uint64_t size)
{
    if (proving->options->progress != NULL) {
        proving->options->progress(proving->options->arg, doing, done, size);
    }
}

static uint64_t wall_ms(const struct proving *proving)
{
    return proving->options->wall_ms(proving->options->arg);
}

/* ---- Which archive ---- */

static void set_bytes(ProtobufCBinaryData *out, uint8_t *copy, const void *data, size_t size)
{
    memcpy(copy, data, size);
    *out = (ProtobufCBinaryData){.data = copy, .len = size};
}

static void name_archive(struct proving *proving, uint64_t cluster_id, const char *target,
                         uint64_t sequence, const uint8_t *archive_id, const uint8_t *sha256)
{
    struct sr_proved *proved = proving->proved;
    Strongroom__Proof *said = &proved->said;
    (void)snprintf(proved->target_name, sizeof(proved->target_name), "%s", target);
    said->cluster_id = cluster_id;
    said->target = proved->target_name;
    said->sequence = sequence;
    set_bytes(&said->archive_id, proved->archive_id, archive_id, SR_ARCHIVE_ID_BYTES);
    set_bytes(&said->manifest_sha256, proved->manifest_sha256, sha256, SR_MANIFEST_HASH_BYTES);
    proving->is_known = true;
}

static void begin(struct proving *proving)
{
    const struct sr_prove_options *options = proving->options;
    struct sr_proved *proved = proving->proved;
    strongroom__proof__init(&proved->said);
    proved->said.format = SR_MANIFEST_FORMAT;
    proved->said.begun_ms = wall_ms(proving);
    (void)snprintf(proved->prover, sizeof(proved->prover), "%s", options->prover);
    proved->said.prover = proved->prover;
    proved->said.reason = proved->reason;
    if (options->sequence != 0) {
        name_archive(proving, options->cluster_id, options->target_name, options->sequence,
                     options->archive_id, options->manifest_sha256);
    }
}

/* ---- Plan ---- */

static int plan_once(struct proving *proving, struct sr_err *err)
{
    const struct sr_prove_options *options = proving->options;
    struct sr_plan_wish wish = {.cluster_id = options->cluster_id,
                                .signed_by = options->fingerprint,
                                .public_key = options->public_key,
                                .target = options->target_name,
                                .sequence = options->sequence};
    tell(proving, "looking at what is there", 0, 0);
    sr_plan_free(proving->plan);
    proving->plan = NULL;
    return sr_plan_make(options->target, &wish, &proving->plan, err);
}

static int check_base(struct proving *proving, struct sr_err *err)
{
    const struct sr_prove_options *options = proving->options;
    const struct sr_manifest *base = sr_plan_base(proving->plan);
    if (options->sequence != 0 &&
        memcmp(base->sha256, options->manifest_sha256, SR_MANIFEST_HASH_BYTES) != 0) {
        return sr_err_set(err, SR_REFUSED,
                          "swapped: the manifest of snapshot %" PRIu64
                          " is not the one that was put there",
                          options->sequence);
    }
    sr_check(base->said->archive_id.len == SR_ARCHIVE_ID_BYTES);
    sr_fingerprint(base->public_key, proving->proved->fingerprint);
    name_archive(proving, base->said->cluster_id, base->said->target, base->said->sequence,
                 base->said->archive_id.data, base->sha256);
    return SR_OK;
}

static bool may_be_passing(int status)
{
    return status == SR_NOT_FOUND || status == SR_CORRUPT || status == SR_REFUSED;
}

static int make_plan(struct proving *proving, struct sr_err *err)
{
    struct timespec pause = {.tv_sec = PAUSE_MS / 1000, .tv_nsec = PAUSE_MS % 1000 * 1000000L};
    int status = plan_once(proving, err);
    for (int i = 1; i < PLANS_MAX && may_be_passing(status) && !is_stopped(proving); i++) {
        (void)nanosleep(&pause, NULL);
        status = plan_once(proving, err);
    }
    return status == SR_OK ? check_base(proving, err) : status;
}

/* ---- Room, and a place ---- */

static int check_room(struct proving *proving, struct sr_err *err)
{
    const struct sr_prove_options *options = proving->options;
    const struct sr_plan *plan = proving->plan;
    uint64_t wanted = 0;
    uint64_t there = 0;
    int status =
        sr_fetch_room(&proving->fetch, plan->steps, plan->step_count, &wanted, &there, err);
    uint64_t restored = (ROOM_FACTOR - 1) * wanted;
    wanted += restored > options->state_bytes ? restored : options->state_bytes;
    wanted += options->disk_reserve_bytes;
    if (status == SR_OK && there < wanted) {
        return sr_err_set(err, SR_NO_SPACE,
                          "%" PRIu64 " MiB are free for %s, and a drill takes %" PRIu64
                          " MiB with what is to stay free",
                          there >> 20, options->work, wanted >> 20);
    }
    return status;
}

static int make_dir(const char *path, struct sr_err *err)
{
    return mkdir(path, S_IRWXU) == 0 || errno == EEXIST
               ? SR_OK
               : sr_err_errno(err, SR_IO, errno, "make %s", path);
}

static int join(char out[PATH_MAX], const char *dir, const char *name, struct sr_err *err)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX
               ? SR_OK
               : sr_err_set(err, SR_INVALID, "%s: path is too long", dir);
}

/* What is restored is sealed under keys that are nowhere but in memory and below @work, under a key
 * that is forgotten at once. */
static int make_keyring(struct proving *proving, struct sr_err *err)
{
    uint8_t kek[SR_KEY_BYTES];
    sr_random_bytes(kek, sizeof(kek));
    sr_random_bytes(&proving->cluster_id, sizeof(proving->cluster_id));
    sr_random_bytes(&proving->member_id, sizeof(proving->member_id));
    proving->cluster_id |= 1;
    proving->member_id |= 1;
    int status =
        sr_keyring_create(proving->keyring_path, kek, proving->cluster_id, proving->member_id, err);
    if (status == SR_OK) {
        status = sr_keyring_open(proving->keyring_path, kek, proving->cluster_id,
                                 proving->member_id, &proving->keyring, err);
    }
    explicit_bzero(kek, sizeof(kek));
    return status;
}

static int make_place(struct proving *proving, struct sr_err *err)
{
    const char *work = proving->options->work;
    int status = SR_OK;
    if ((status = join(proving->fetched, work, "fetched", err)) != SR_OK ||
        (status = join(proving->state, work, "state", err)) != SR_OK ||
        (status = join(proving->keyring_path, work, "keyring", err)) != SR_OK ||
        (status = sr_copy_remove_slowly(work, proving->options->stop, err)) != SR_OK ||
        (status = make_dir(work, err)) != SR_OK ||
        (status = make_dir(proving->fetched, err)) != SR_OK ||
        (status = make_dir(proving->state, err)) != SR_OK) {
        return status;
    }
    return make_keyring(proving, err);
}

/* ---- Fetch ---- */

static void on_fetch(void *arg, const struct sr_manifest *manifest, uint64_t bytes)
{
    tell(arg,
         manifest->said->kind == SR_ARCHIVE_FULL ? "fetching the snapshot" : "fetching changes",
         bytes, manifest->said->size);
}

static int fetch(struct proving *proving, struct sr_err *err)
{
    int status = check_room(proving, err);
    for (size_t i = 0; status == SR_OK && i < proving->plan->step_count; i++) {
        status = sr_fetch_archive(&proving->fetch, proving->plan->steps[i], err);
    }
    return status;
}

/* ---- Stage ---- */

static void on_stage(void *arg, size_t number, uint64_t bytes)
{
    const struct proving *proving = arg;
    tell(arg, number == 0 ? "restoring the snapshot" : "restoring changes", bytes,
         proving->plan->steps[number]->said->size);
}

static int stage(struct proving *proving, struct sr_stage_result *ret, struct sr_err *err)
{
    const struct sr_prove_options *options = proving->options;
    struct sr_stage stage = {
        .plan = proving->plan,
        .fetch = &proving->fetch,
        .keys = &options->keys,
        .staged = {.writer = {.dir = proving->state,
                              .keyring = proving->keyring,
                              .cluster_id = proving->cluster_id,
                              .member_id = proving->member_id,
                              .disk_reserve_bytes = options->disk_reserve_bytes},
                   .configuration = sr_bytes_of("drill")}, /* nobody ever starts with it */
        .stopping = options->stop,
        .progress = on_stage,
        .arg = proving,
    };
    return sr_stage_run(&stage, ret, err);
}

static int restore(struct proving *proving, struct sr_err *err)
{
    struct sr_proved *proved = proving->proved;
    const struct sr_manifest *last = sr_plan_last(proving->plan);
    struct sr_stage_result result = {0};
    int status = stage(proving, &result, err);
    if (status != SR_OK) {
        return status;
    }
    if (!result.state_hash_is_proven) {
        return sr_err_set(err, SR_CORRUPT, "the manifest of %s has no state hash to compare with",
                          last->said->object);
    }
    proved->said.revision = result.staged.revision;
    proved->said.changes_sequence =
        last->said->kind == SR_ARCHIVE_CHANGES ? last->said->sequence : 0;
    set_bytes(&proved->said.state_hash, proved->state_hash, result.staged.state_hash,
              sizeof(result.staged.state_hash));
    proved->versions = result.staged.versions;
    return SR_OK;
}

/* ---- The result ---- */

/* Whether @status, of all of this, is about the archive; otherwise @err is what is the matter. */
static bool is_verdict(const struct proving *proving, int status, struct sr_err *err)
{
    struct sr_err other = {0};
    bool says_so = status == SR_CORRUPT || status == SR_REFUSED || status == SR_NOT_FOUND ||
                   status == SR_FORMAT;
    /* The cluster has the key of what it shipped; a recovery key may be another one's. */
    says_so = says_so || (status == SR_KEY && proving->options->keys.secret != NULL);
    if (!says_so || !proving->is_known || is_stopped(proving)) {
        return false;
    }
    /* A target that is gone, or lets us in no more, uses the same words. */
    if (sr_target_probe(proving->options->target, false, &other) != SR_OK) {
        *err = other;
        return false;
    }
    return true;
}

/* As a proof may have it: no control characters, not too long, not cut within a character. */
static void set_reason(struct sr_proved *proved, const char *text)
{
    size_t size = strnlen(text, SR_MANIFEST_TEXT_CHARS_MAX + 1);
    while (size > SR_MANIFEST_TEXT_CHARS_MAX ||
           (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)) {
        size--;
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char before = i == 0 ? 0 : (unsigned char)proved->reason[i - 1];
        bool shows = sr_manifest_text_may_have(before, (unsigned char)text[i]);
        proved->reason[i] = (char)(shows ? text[i] : '?');
    }
    proved->reason[size] = 0;
}

static int conclude(struct proving *proving, int status, struct sr_err *err)
{
    struct sr_proved *proved = proving->proved;
    if (status != SR_OK && !is_verdict(proving, status, err)) {
        return err->status == SR_OK ? status : err->status;
    }
    proved->said.good = status == SR_OK;
    if (status != SR_OK) {
        set_reason(proved, err->text);
    }
    uint64_t now_ms = wall_ms(proving);
    proved->said.bytes = proving->fetch.fetched_bytes;
    /* A clock that was put back meanwhile: then nobody knows how long it took. */
    proved->said.ended_ms = now_ms > proved->said.begun_ms ? now_ms : proved->said.begun_ms;
    return sr_proof_sign(&proved->said, proving->options->signing_seed, &proved->file, err);
}

static int prove(struct proving *proving, struct sr_err *err)
{
    int status = make_place(proving, err);
    if (status == SR_OK) {
        status = make_plan(proving, err);
    }
    if (status == SR_OK) {
        status = fetch(proving, err);
    }
    if (status == SR_OK) {
        status = restore(proving, err);
    }
    return status;
}

int sr_prove(const struct sr_prove_options *options, struct sr_proved **ret, struct sr_err *err)
{
    struct sr_err ignored = {0};
    struct proving proving = {.options = options, .proved = sr_zalloc(sizeof(*proving.proved))};
    proving.fetch = (struct sr_fetch){.target = options->target,
                                      .dir = proving.fetched,
                                      .can_wait = true,
                                      .stopping = options->stop,
                                      .progress = on_fetch,
                                      .arg = &proving};
    begin(&proving);
    int status = conclude(&proving, prove(&proving, err), err);
    sr_plan_free(proving.plan);
    sr_keyring_close(proving.keyring);
    (void)sr_copy_remove_slowly(options->work, options->stop, &ignored);
    if (status == SR_OK) {
        *ret = proving.proved;
    } else {
        sr_proved_close(proving.proved);
    }
    return status;
}

void sr_proved_close(struct sr_proved *proved)
{
    if (proved != NULL) {
        sr_buf_close(&proved->file);
        sr_free(proved);
    }
}

int sr_proved_put(const struct sr_proved *proved, struct sr_target *target, struct sr_err *err)
{
    struct sr_target_put_options options = {.replace = true};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_proof_name(proved->said.cluster_id, proved->said.sequence, name);
    return sr_target_put_bytes(target, name, proved->file.data, proved->file.size, &options, err);
}
