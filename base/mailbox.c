/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <time.h>

#include "base/check.h"

static void wake_waiter(void *arg)
{
    struct sr_mailbox *box = arg;
    pthread_mutex_lock(&box->mutex);
    box->signalled = true;
    pthread_cond_signal(&box->cond);
    pthread_mutex_unlock(&box->mutex);
}

void sr_mailbox_init(struct sr_mailbox *box, size_t count_max, void (*wake)(void *arg),
                     void *wake_arg)
{
    atomic_init(&box->head, NULL);
    atomic_init(&box->count, 0);
    box->count_max = count_max;
    box->wake = wake == NULL ? wake_waiter : wake;
    box->wake_arg = wake == NULL ? box : wake_arg;
    box->signalled = false;
    pthread_condattr_t attributes;
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_mutex_init(&box->mutex, NULL) == 0);
    sr_check(pthread_cond_init(&box->cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
}

void sr_mailbox_close(struct sr_mailbox *box)
{
    sr_check(atomic_load(&box->head) == NULL);
    pthread_cond_destroy(&box->cond);
    pthread_mutex_destroy(&box->mutex);
}

/* Push a chain whose @newest links down to @oldest. */
static void push(struct sr_mailbox *box, struct sr_mail *newest, struct sr_mail *oldest,
                 size_t count)
{
    atomic_fetch_add_explicit(&box->count, count, memory_order_relaxed);
    struct sr_mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);
    do {
        oldest->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, newest, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL) {
        box->wake(box->wake_arg);
    }
}

bool sr_mailbox_post(struct sr_mailbox *box, struct sr_mail *mail)
{
    if (atomic_load_explicit(&box->count, memory_order_relaxed) >= box->count_max) {
        return false;
    }
    push(box, mail, mail, 1);
    return true;
}

void sr_mailbox_post_always(struct sr_mailbox *box, struct sr_mail *mail)
{
    push(box, mail, mail, 1);
}

static struct sr_mail *reverse(struct sr_mail *list, size_t *ret_count)
{
    struct sr_mail *reversed = NULL;
    size_t count = 0;
    while (list != NULL) {
        struct sr_mail *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
        count++;
    }
    *ret_count = count;
    return reversed;
}

void sr_mailbox_post_list(struct sr_mailbox *box, struct sr_mail *oldest)
{
    if (oldest == NULL) {
        return;
    }
    size_t count = 0;
    struct sr_mail *newest = reverse(oldest, &count);
    push(box, newest, oldest, count);
}

struct sr_mail *sr_mailbox_take(struct sr_mailbox *box)
{
    size_t count = 0;
    struct sr_mail *oldest =
        reverse(atomic_exchange_explicit(&box->head, NULL, memory_order_acquire), &count);
    atomic_fetch_sub_explicit(&box->count, count, memory_order_relaxed);
    return oldest;
}

static struct timespec deadline_in(int64_t timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

void sr_mailbox_wait(struct sr_mailbox *box, int64_t timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&box->mutex);
    while (!box->signalled && atomic_load(&box->head) == NULL) {
        if (timeout_ms < 0) {
            pthread_cond_wait(&box->cond, &box->mutex);
        } else if (pthread_cond_timedwait(&box->cond, &box->mutex, &deadline) != 0) {
            break;
        }
    }
    box->signalled = false;
    pthread_mutex_unlock(&box->mutex);
}

void sr_mailbox_kick(struct sr_mailbox *box)
{
    box->wake(box->wake_arg);
}

size_t sr_mailbox_count(const struct sr_mailbox *box)
{
    return atomic_load_explicit(&box->count, memory_order_relaxed);
}
