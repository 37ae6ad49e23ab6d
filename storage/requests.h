/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory of request ids, by which a retried command takes effect once (P3): the last
 * SR_REMEMBERED_REQUESTS_MAX commands that carried an id, in the order of their application, each
 * with its answer. It is part of the replicated state: every node remembers and forgets the same.
 *
 * In memory there are only the ids. An answer is in the list of its memtable until the flush has
 * written it to table `request`, and is read from there afterwards:
 *
 *   request: number u64 (order of application) -> box of format, flags, error, revision, id, body
 *
 * Apply thread, except where it says otherwise. What store_internal.h declares is implemented here
 * too.
 */
#ifndef SR_STORAGE_REQUESTS_H
#define SR_STORAGE_REQUESTS_H

#include "proto/api_error.h"
#include "proto/command.pb-c.h"
#include "storage/store_internal.h"

#define SR_REQUEST_ID_BYTES 16

/* Under what a command is remembered: a digest of the client's id, the actor and the kind of
 * operation, so that nobody gets somebody else's answer, or one of another shape. */
struct sr_request_name {
    uint8_t bytes[16];
};

/* One answer, on its way to disk. Shared by the memory and by the list of a memtable. */
struct sr_remembered {
    struct sr_remembered *next; /* in the list; oldest first */
    atomic_uint references;
    atomic_bool durable; /* set when the list is released */
    uint64_t number;
    struct sr_request_name name;
    enum sr_api_error error;
    int64_t revision;
    bool without_body; /* it was larger than SR_REMEMBERED_ANSWER_BYTES_MAX */
    size_t size;
    uint8_t body[];
};

/* The name of a command with an id. SR_CRYPTO. */
int sr_request_name(const Strongroom__Command *command, struct sr_request_name *ret,
                    struct sr_err *err);

/* Fill error, revision and body of @ret with the remembered answer; error is
 * SR_API_ANSWER_FORGOTTEN when it was too large to keep. SR_NOT_FOUND (without @err) when the name
 * is not remembered; otherwise the store failed. */
int sr_requests_find(struct sr_store *store, const struct sr_request_name *name,
                     struct sr_outcome *ret, struct sr_err *err);

/* Remember the outcome of a command that is not remembered yet. @without_body: its body was too
 * large to be built at all. Copies. */
void sr_requests_remember(struct sr_store *store, const struct sr_request_name *name,
                          const struct sr_outcome *outcome, bool without_body);

/* Remember @from, which changes put on top of a state bring, under the next number, unless its name
 * is remembered already: a copy. SR_CORRUPT. */
int sr_requests_adopt(struct sr_store *store, const struct sr_remembered *from, struct sr_err *err);

/* How many are remembered. */
size_t sr_requests_count(const struct sr_store *store);

#endif
