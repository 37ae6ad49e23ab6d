/* SPDX-License-Identifier: Apache-2.0
 *
 * Who reads the state in slices, each in a view of its own, needs that nothing of it is removed in
 * between. A hold makes compaction and the forgetting of request ids wait. It does not last for
 * ever: after SR_IMAGE_HOLD_MS_MAX, or when the disk runs short, it expires, and its owner has to
 * begin anew.
 *
 * Apart from that, compaction may be told to leave what is later than some revision: within bounds
 * too, and whoever wants it reads whether it was left.
 *
 *   hold_begin ── waits for the removing transaction, if there is one ──► held ──► hold_end
 *   remove_begin: held? then the transaction removes nothing. Otherwise no hold begins before
 *   remove_end.
 */
#include "base/clock.h"
#include "proto/limits.h"
#include "storage/changes.h"
#include "storage/store_internal.h"

int sr_hold_begin(struct sr_store *store, struct sr_hold *hold, struct sr_err *err)
{
    size_t count = 0;
    int rc = SR_OK;

    *hold = (struct sr_hold){.since_ns = sr_clock_monotonic_ns()};
    pthread_mutex_lock(&store->mutex);
    for (const struct sr_hold *other = store->holds; other != NULL; other = other->next) {
        count++;
    }
    if (count < SR_IMAGE_READERS_MAX) {
        hold->next = store->holds;
        store->holds = hold;
        while (store->removing) {
            pthread_cond_wait(&store->removed, &store->mutex);
        }
    } else {
        rc = sr_err_set(err, SR_LIMIT, "%zu images are being read", count);
    }
    pthread_mutex_unlock(&store->mutex);
    return rc;
}

void sr_hold_end(struct sr_store *store, struct sr_hold *hold)
{
    struct sr_hold **place = &store->holds;

    pthread_mutex_lock(&store->mutex);
    while (*place != hold) {
        place = &(*place)->next;
    }
    *place = hold->next;
    pthread_mutex_unlock(&store->mutex);
}

bool sr_hold_is_expired(struct sr_store *store, const struct sr_hold *hold)
{
    bool expired;

    pthread_mutex_lock(&store->mutex);
    expired = hold->expired;
    pthread_mutex_unlock(&store->mutex);
    return expired;
}

/* Under the mutex. */
static bool is_any_left(struct sr_store *store, uint64_t now_ns)
{
    bool any = false;

    for (struct sr_hold *hold = store->holds; hold != NULL; hold = hold->next) {
        if (!atomic_load(&store->has_space) ||
            now_ns - hold->since_ns > (uint64_t)SR_IMAGE_HOLD_MS_MAX * 1000000u) {
            hold->expired = true;
        }
        any = any || !hold->expired;
    }
    return any;
}

bool sr_hold_is_any(struct sr_store *store)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    bool any;

    pthread_mutex_lock(&store->mutex);
    any = is_any_left(store, now_ns);
    pthread_mutex_unlock(&store->mutex);
    return any;
}

bool sr_hold_remove_begin(struct sr_store *store)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    bool removing;

    pthread_mutex_lock(&store->mutex);
    removing = !is_any_left(store, now_ns);
    store->removing = removing;
    pthread_mutex_unlock(&store->mutex);
    return removing;
}

void sr_store_keep_after(struct sr_store *store, int64_t revision)
{
    pthread_mutex_lock(&store->mutex);
    store->keep_after = revision;
    store->keep_ns = sr_clock_monotonic_ns();
    pthread_mutex_unlock(&store->mutex);
}

int64_t sr_hold_limit(struct sr_store *store, int64_t target)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    bool kept;
    int64_t limit;

    pthread_mutex_lock(&store->mutex);
    kept = store->keep_after < target && target - store->keep_after <= SR_KEEP_REVISIONS_MAX &&
           now_ns - store->keep_ns <= (uint64_t)SR_KEEP_MS_MAX * 1000000u &&
           atomic_load(&store->has_space);
    limit = kept ? store->keep_after : target;
    pthread_mutex_unlock(&store->mutex);
    return limit;
}

void sr_hold_remove_end(struct sr_store *store)
{
    pthread_mutex_lock(&store->mutex);
    store->removing = false;
    pthread_cond_broadcast(&store->removed);
    pthread_mutex_unlock(&store->mutex);
}
