/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way for threads to talk: a bounded queue with many producers and one consumer.
 *
 * Messages embed a struct sr_mail; posting neither copies nor allocates. A message belongs to the
 * mailbox from a successful post until the consumer takes it. Messages of one producer come out
 * in the order in which they went in.
 *
 * The consumer is woken through @wake, called by the producer that finds the mailbox empty:
 * uv_async_send for an event loop, or sr_mailbox_wait's own signal for a plain thread.
 */
#ifndef SR_BASE_MAILBOX_H
#define SR_BASE_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sr_mail {
    struct sr_mail *next;
};

struct sr_mailbox {
    _Atomic(struct sr_mail *) head; /* newest first */
    atomic_size_t count;
    size_t count_max;
    void (*wake)(void *arg);
    void *wake_arg;
    /* For sr_mailbox_wait only. */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool signalled;
};

/* @count_max bounds what waits; @wake NULL means that the consumer uses sr_mailbox_wait. */
void sr_mailbox_init(struct sr_mailbox *box, size_t count_max, void (*wake)(void *arg),
                     void *wake_arg);
void sr_mailbox_close(struct sr_mailbox *box); /* must be empty */

/* Any thread. False when the bound is reached: the message stays the caller's. */
bool sr_mailbox_post(struct sr_mailbox *box, struct sr_mail *mail);
/* As above, past the bound: for answers and shutdown, which must not be refused. Their number is
 * bounded by what was let in at the other end. */
void sr_mailbox_post_always(struct sr_mailbox *box, struct sr_mail *mail);
/* Post a whole list (linked by next, oldest first, NULL at the end) with one wake. Past the
 * bound, as above. */
void sr_mailbox_post_list(struct sr_mailbox *box, struct sr_mail *oldest);

/* Consumer only: everything that waits, oldest first, linked by next; NULL if none. */
struct sr_mail *sr_mailbox_take(struct sr_mailbox *box);
/* Consumer only, with wake == NULL: block until something waits, sr_mailbox_kick is called, or
 * @timeout_ms (negative: no limit) has passed. */
void sr_mailbox_wait(struct sr_mailbox *box, int64_t timeout_ms);
/* Any thread: wake the consumer without a message. */
void sr_mailbox_kick(struct sr_mailbox *box);
/* Any thread: how many wait, approximately. */
size_t sr_mailbox_count(const struct sr_mailbox *box);

/* The struct of @type that embeds @mail as @member. */
#define sr_container(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
