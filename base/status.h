/* SPDX-License-Identifier: Apache-2.0
 *
 * Every error code of the project, in one list. A function that can fail returns one of these as
 * an int (0 is success) and explains itself in a struct sr_err.
 */
#ifndef SR_BASE_STATUS_H
#define SR_BASE_STATUS_H

/* X(name, text): what went wrong, by who has to act on it. */
#define SR_STATUS(X)                                                                               \
    X(OK, "ok")                                                                                    \
    X(INVALID, "invalid input")        /* the caller: fix the request or the file */               \
    X(NOT_FOUND, "not found")          /* the caller: it is not there */                           \
    X(EXISTS, "already exists")        /* the caller: it is there already */                       \
    X(REFUSED, "refused")              /* the other side said no, and why */                       \
    X(REMOVED, "removed")              /* the cluster has this node no more: stop for good */      \
    X(LIMIT, "limit reached")          /* a bound of limits.h: try later or ask for less */        \
    X(AGAIN, "not now")                /* no leader, not yet applied: try again */                 \
    X(TIMEOUT, "timed out")            /* the outcome is unknown */                                \
    X(CLOSED, "closed")                /* shutting down, or the peer went away */                  \
    X(NETWORK, "network failure")      /* an address, a socket, a handshake */                     \
    X(NO_SPACE, "no space left")       /* the disk is full: comes right by itself */               \
    X(IO, "input/output failure")      /* the disk cannot be trusted: the node stops */            \
    X(CORRUPT, "damaged data")         /* authentication or a checksum failed: stop */             \
    X(KEY, "wrong or unusable key")    /* the KEK or keyring does not fit: stop */                 \
    X(FORMAT, "unknown format")        /* written by a newer version, or not by us */              \
    X(CRYPTO, "cryptographic failure") /* the library refused: stop */                             \
    X(INTERNAL, "internal error")      /* a bug that was caught in time */

enum sr_status {
#define X(name, text) SR_##name,
    SR_STATUS(X)
#undef X
        SR_STATUS_COUNT
};

/* The fixed text of @status, e.g. "damaged data". Never NULL. */
const char *sr_status_text(int status);

#endif
