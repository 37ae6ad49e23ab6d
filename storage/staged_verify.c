/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/secret.h"
#include "storage/event.h"
#include "storage/staged_impl.h"

/* Events looked at with one view. */
#define SLICE_EVENTS 20000

struct reading {
    struct sr_store *store;
    EVP_MD_CTX *sum;
    struct sr_buf packed;
    int64_t revision; /* the next version is at or after (revision, sub) */
    uint32_t sub;
    uint64_t versions;
};

static int add_event(struct reading *reading, const struct sr_event *event,
                     const struct sr_buf *plain, struct sr_err *err)
{
    uint8_t name[SR_KEY_BYTES_MAX];
    struct sr_image_version version = {.version = event->version,
                                       .value = {plain->data, event->version.value_size}};
    size_t size = 0;
    int rc = sr_key_decode(reading->store->lmdb.codec, event->ek, event->ek_size, name, &size, err);

    if (rc != SR_OK) {
        return rc;
    }
    version.key = (struct sr_bytes){name, size};
    sr_buf_clear(&reading->packed);
    sr_image_version_pack(&version, &reading->packed);
    sr_secret_wipe(name, size);
    if (EVP_DigestUpdate(reading->sum, reading->packed.data, reading->packed.size) != 1) {
        return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    reading->revision = event->version.mod_revision;
    reading->sub = event->version.sub + 1;
    reading->versions++;
    return SR_OK;
}

/* SR_NOT_FOUND: there are no more. */
static int read_slice(struct reading *reading, struct sr_err *err)
{
    struct sr_view *view = NULL;
    struct sr_event event;
    int rc = sr_view_open(reading->store, &view, err);

    if (rc == SR_OK) {
        struct sr_event_reader events = {.opener = &view->opener, .cursor = view->log};
        for (unsigned i = 0; rc == SR_OK && i < SLICE_EVENTS; i++) {
            rc = sr_event_read(&events, reading->revision, reading->sub, &event, err);
            if (rc == SR_OK) {
                rc = add_event(reading, &event, &events.plain, err);
            }
        }
        sr_event_reader_close(&events);
    }
    sr_view_close(view);
    return rc;
}

static int compare(struct sr_staged *staged, const struct reading *reading, struct sr_err *err)
{
    uint8_t put[EVP_MAX_MD_SIZE];
    uint8_t found[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(staged->sum, put, NULL) != 1 ||
        EVP_DigestFinal_ex(reading->sum, found, NULL) != 1) {
        return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    if (reading->versions != staged->versions || memcmp(put, found, SR_IMAGE_HASH_BYTES) != 0) {
        return sr_err_set(err, SR_CORRUPT, "what was read back is not what was put");
    }
    return SR_OK;
}

static int check_stop(const struct sr_staged *staged, struct sr_err *err)
{
    const atomic_bool *stopping = staged->options.stopping;

    return stopping != NULL && atomic_load(stopping) ? sr_err_set(err, SR_CLOSED, "it was stopped")
                                                     : SR_OK;
}

/* As sr_image_scrub, but that it can be stopped. */
static int scrub(struct sr_staged *staged, struct sr_err *err)
{
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk;
    int rc = sr_image_reader_open(staged->writer->store, &reader, err);

    if (rc != SR_OK) {
        return rc;
    }
    while (rc == SR_OK) {
        rc = check_stop(staged, err);
        if (rc == SR_OK) {
            rc = sr_image_reader_next(reader, &chunk, err);
        }
    }
    sr_image_reader_close(reader);
    return rc == SR_NOT_FOUND ? SR_OK : rc;
}

int sr_staged_verify(struct sr_staged *staged, struct sr_err *err)
{
    struct reading reading = {.store = staged->writer->store, .sum = EVP_MD_CTX_new()};
    int rc = SR_OK;

    if (reading.sum == NULL || EVP_DigestInit_ex2(reading.sum, EVP_sha256(), NULL) != 1) {
        rc = sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    while (rc == SR_OK) {
        rc = check_stop(staged, err);
        if (rc == SR_OK) {
            rc = read_slice(&reading, err);
        }
    }
    if (rc == SR_NOT_FOUND) {
        rc = compare(staged, &reading, err);
    }
    EVP_MD_CTX_free(reading.sum);
    if (reading.packed.data != NULL) {
        sr_secret_wipe(reading.packed.data, reading.packed.capacity);
    }
    sr_buf_close(&reading.packed);
    return rc == SR_OK ? scrub(staged, err) : rc;
}
