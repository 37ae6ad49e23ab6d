/* SPDX-License-Identifier: Apache-2.0 */
#include "node/image/rate.h"

#include "base/check.h"

#define SECOND_NS ((uint64_t)1000 * 1000 * 1000)
#define SAVED_NS  (SECOND_NS / 10)

void sr_rate_init(struct sr_rate *rate, uint64_t bytes_per_second, uint64_t now_ns)
{
    *rate = (struct sr_rate){.bytes_per_second = bytes_per_second, .filled_ns = now_ns};
    sr_check(pthread_mutex_init(&rate->mutex, NULL) == 0);
}

void sr_rate_close(struct sr_rate *rate)
{
    pthread_mutex_destroy(&rate->mutex);
}

/* Rates are up to a few GB/s and pauses are cut at ten seconds: no product overflows. */
static int64_t bytes_in(const struct sr_rate *rate, uint64_t duration_ns)
{
    uint64_t capped_ns = duration_ns < 10 * SECOND_NS ? duration_ns : 10 * SECOND_NS;
    return (int64_t)((double)rate->bytes_per_second * ((double)capped_ns / (double)SECOND_NS));
}

uint64_t sr_rate_take(struct sr_rate *rate, size_t bytes, uint64_t now_ns)
{
    uint64_t wait_ns = 0;
    if (rate->bytes_per_second == 0) {
        return 0;
    }
    pthread_mutex_lock(&rate->mutex);
    if (now_ns > rate->filled_ns) {
        int64_t most = bytes_in(rate, SAVED_NS);
        rate->tokens += bytes_in(rate, now_ns - rate->filled_ns);
        rate->tokens = rate->tokens < most ? rate->tokens : most;
        rate->filled_ns = now_ns;
    }
    rate->tokens -= (int64_t)bytes;
    if (rate->tokens < 0) {
        double missing = (double)-rate->tokens / (double)rate->bytes_per_second;
        wait_ns = (uint64_t)(missing * (double)SECOND_NS);
    }
    pthread_mutex_unlock(&rate->mutex);
    return wait_ns;
}
