/* SPDX-License-Identifier: Apache-2.0
 *
 * What an S3 request that failed means, whether it is worth another attempt, and when. Pure
 * functions. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_RETRY_H
#define SR_NODE_OFFSITE_RETRY_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct sr_verdict {
    int status;         /* what it is when no more attempts are made; SR_OK: it succeeded */
    bool retry;         /* another attempt may help */
    bool credentials;   /* ... but only with other credentials */
    const char *advice; /* for a person, NULL or a clause to put behind the sentence */
};

/* Of an exchange that brought no answer, or not all of it. */
struct sr_verdict sr_retry_transport(CURLcode result);
/* Of an answer; @code is S3's ("SlowDown"), "" when it said none. */
struct sr_verdict sr_retry_answer(long http_status, const char *code);

/* How long to wait before attempt @attempt (from 2): at least @retry_after_s if that is not 0,
 * otherwise 200 ms doubled each time up to 20 s, of which @random decides over one half. At most
 * 60 s. */
uint64_t sr_retry_wait_ms(unsigned attempt, unsigned retry_after_s, uint64_t random);

#endif
