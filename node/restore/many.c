/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/many.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/check.h"

struct running {
    const struct sr_many *many;
    size_t count;
    pthread_mutex_t lock; /* all below */
    size_t next;          /* the lowest index that has not begun */
    size_t failed;        /* the lowest index that has failed; count: none */
    struct sr_err err;    /* of that one */
};

struct worker {
    struct running *running;
    struct sr_target *target;
    pthread_t thread;
};

static bool is_stopped(const struct sr_many *many)
{
    return many->stopping != NULL && atomic_load(many->stopping);
}

/* The next index goes to the caller; false: there is none. */
static bool begin(struct running *running, size_t *ret_index)
{
    pthread_mutex_lock(&running->lock);
    bool goes_on = running->next < running->count && running->failed == running->count &&
                   !is_stopped(running->many);
    if (goes_on) {
        *ret_index = running->next++;
    }
    pthread_mutex_unlock(&running->lock);
    return goes_on;
}

static void fail(struct running *running, size_t index, const struct sr_err *err)
{
    pthread_mutex_lock(&running->lock);
    if (index < running->failed) {
        running->failed = index;
        running->err = *err;
    }
    pthread_mutex_unlock(&running->lock);
}

static void *work(void *arg)
{
    const struct worker *worker = arg;
    struct running *running = worker->running;
    const struct sr_many *many = running->many;
    size_t index = 0;
    while (begin(running, &index)) {
        struct sr_err err = {0};
        int status = many->call(many->arg, worker->target, index, &err);
        if (status != SR_OK) {
            err.status = status;
            fail(running, index, &err);
        }
    }
    return NULL;
}

/* The caller works too. With fewer threads than wanted, when there are no more to be had, it takes
 * longer and nothing else. */
static void work_together(struct running *running)
{
    const struct sr_targets *targets = &running->many->targets;
    size_t wanted = targets->count < running->count ? targets->count : running->count;
    struct worker *workers = sr_calloc(wanted + 1, sizeof(*workers));
    size_t count = 0;
    for (size_t i = 0; i < wanted; i++) {
        workers[i] = (struct worker){.running = running, .target = targets->list[i]};
    }
    while (count + 1 < wanted &&
           pthread_create(&workers[count + 1].thread, NULL, work, &workers[count + 1]) == 0) {
        count++;
    }
    if (wanted > 0) {
        work(&workers[0]);
    }
    for (size_t i = 1; i <= count; i++) {
        sr_check(pthread_join(workers[i].thread, NULL) == 0);
    }
    sr_free(workers);
}

int sr_many_run(const struct sr_many *many, size_t count, size_t *ret_failed, struct sr_err *err)
{
    struct running running = {
        .many = many, .count = count, .lock = PTHREAD_MUTEX_INITIALIZER, .failed = count};
    sr_check(many->targets.count > 0);
    work_together(&running);
    pthread_mutex_destroy(&running.lock);
    if (ret_failed != NULL) {
        *ret_failed = running.failed;
    }
    if (running.failed < count) {
        return sr_err_set(err, running.err.status, "%s", running.err.text);
    }
    return running.next == count ? SR_OK : sr_err_set(err, SR_CLOSED, "it is to stop");
}
