/* SPDX-License-Identifier: Apache-2.0
 *
 * One drill: a full archive and the changes behind it are fetched from a target, restored into a
 * scratch directory, read back from disk, and compared with what the manifests say; the result is
 * signed. Shared by the nodes (node/offsite/drill.h) and `strongroom drill`.
 *
 * Blocks; one thread.
 */
#ifndef SR_NODE_RESTORE_PROVE_H
#define SR_NODE_RESTORE_PROVE_H

#include <stdatomic.h>

#include "base/buf.h"
#include "node/offsite/target.h"
#include "proto/archive.pb-c.h"
#include "storage/archive_key.h"
#include "storage/manifest.h"

struct sr_prove_options {
    /* What is to be looked at; all borrowed. */
    struct sr_target *target;
    uint64_t cluster_id;       /* 0: the one that is there */
    const char *target_name;   /* in the cluster's configuration; NULL: any */
    const uint8_t *public_key; /* that signed the manifests; NULL: any */
    const char *fingerprint;   /* the same, as people give it */
    /* Which full archive, as a catalogue has it: then all three, target_name and cluster_id are
     * known, and what is missing is a result as well. 0: the newest that is there. */
    uint64_t sequence;
    const uint8_t *archive_id;
    const uint8_t *manifest_sha256; /* of its manifest's file */
    struct sr_archive_keyring keys; /* to open the archives with */

    /* How, and who does it. */
    const char *work;            /* a directory of ours alone; removed before and after */
    uint64_t disk_reserve_bytes; /* that are to stay free: below it, SR_NO_SPACE */
    uint64_t state_bytes;        /* what a state like this takes on disk; 0: nobody knows */
    const uint8_t *signing_seed; /* of the proof */
    const char *prover;
    uint64_t (*wall_ms)(void *arg);
    void *arg;
    const atomic_bool *stop; /* give up, soon: SR_CLOSED; NULL: never */
    /* What is being done, in a few words, from time to time; @size 0: not known. NULL: nobody
     * asks. */
    void (*progress)(void *arg, const char *doing, uint64_t done, uint64_t size);
};

struct sr_proved {
    Strongroom__Proof said;
    struct sr_buf file; /* signed, to be put under sr_proof_name */
    /* What @said points into. */
    char target_name[SR_MANIFEST_TEXT_CHARS_MAX + 1];
    char reason[SR_MANIFEST_TEXT_CHARS_MAX + 1];
    char prover[SR_MANIFEST_TEXT_CHARS_MAX + 1];
    uint8_t archive_id[SR_ARCHIVE_ID_BYTES];
    uint8_t manifest_sha256[SR_MANIFEST_HASH_BYTES];
    uint8_t state_hash[32];
    char fingerprint[SR_FINGERPRINT_CHARS + 1]; /* who signed the manifests; "": not known */
    uint64_t versions;                          /* that were restored */
};

/* SR_OK: there is a result, good or bad; release it with sr_proved_close. Anything else: it could
 * not be looked at, which says nothing about the archive: SR_NETWORK, SR_TIMEOUT, SR_AGAIN,
 * SR_REFUSED, SR_NOT_FOUND of the target as a whole; SR_NO_SPACE, SR_IO of the disk here;
 * SR_CLOSED. */
int sr_prove(const struct sr_prove_options *options, struct sr_proved **ret, struct sr_err *err);
void sr_proved_close(struct sr_proved *proved); /* NULL is fine */

/* Put it beside the manifest, in the place of an earlier one. Fails as sr_target_put_bytes. */
int sr_proved_put(const struct sr_proved *proved, struct sr_target *target, struct sr_err *err);

#endif
