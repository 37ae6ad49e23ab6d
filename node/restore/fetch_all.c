/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/fetch_all.h"

#include <pthread.h>

#include "base/check.h"

struct fetching_all {
    const struct sr_fetch_all *all;
    const struct sr_manifest *const *manifests;
    pthread_mutex_t lock; /* all below, the counters of all->fetch, and progress */
    size_t whole;
    uint64_t bytes;
};

/* One of them, on its thread. */
struct fetching_one {
    struct fetching_all *fetching;
    uint64_t bytes; /* of it, that are counted in those of all */
};

/* Lock held. It may be less than before, when a group is fetched once more. */
static void count(struct fetching_one *one, uint64_t bytes)
{
    struct fetching_all *fetching = one->fetching;
    fetching->bytes = fetching->bytes - one->bytes + bytes;
    one->bytes = bytes;
}

static void tell(const struct fetching_all *fetching)
{
    if (fetching->all->progress != NULL) {
        fetching->all->progress(fetching->all->arg, fetching->whole, fetching->bytes);
    }
}

static void on_progress(void *arg, const struct sr_manifest *manifest, uint64_t bytes)
{
    struct fetching_one *one = arg;
    (void)manifest;
    pthread_mutex_lock(&one->fetching->lock);
    count(one, bytes);
    tell(one->fetching);
    pthread_mutex_unlock(&one->fetching->lock);
}

static int fetch_one(void *arg, struct sr_target *target, size_t index, struct sr_err *err)
{
    struct fetching_all *fetching = arg;
    struct sr_fetch *shared = fetching->all->fetch;
    struct fetching_one one = {.fetching = fetching};
    struct sr_fetch fetch = {.target = target,
                             .dir = shared->dir,
                             .stopping = shared->stopping,
                             .progress = on_progress,
                             .arg = &one};
    int status = sr_fetch_archive(&fetch, fetching->manifests[index], err);
    pthread_mutex_lock(&fetching->lock);
    shared->fetched_bytes += fetch.fetched_bytes;
    shared->kept_bytes += fetch.kept_bytes;
    if (status == SR_OK) {
        count(&one, fetching->manifests[index]->said->size);
        fetching->whole++;
        tell(fetching);
    }
    pthread_mutex_unlock(&fetching->lock);
    return status;
}

int sr_fetch_all(const struct sr_fetch_all *all, const struct sr_manifest *const *manifests,
                 size_t count, size_t *ret_failed, struct sr_err *err)
{
    struct fetching_all fetching = {
        .all = all, .manifests = manifests, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct sr_many many = {.targets = all->targets,
                           .stopping = all->fetch->stopping,
                           .call = fetch_one,
                           .arg = &fetching};
    int status = sr_many_run(&many, count, ret_failed, err);
    pthread_mutex_destroy(&fetching.lock);
    sr_check(status != SR_OK || fetching.whole == count);
    return status;
}
