/* SPDX-License-Identifier: Apache-2.0
 *
 * A token bucket: all image transfers of a node share one, so that together they leave the disk
 * and the network to the clients.
 */
#ifndef SR_NODE_IMAGE_RATE_H
#define SR_NODE_IMAGE_RATE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct sr_rate {
    pthread_mutex_t mutex;
    uint64_t bytes_per_second; /* 0: no limit */
    int64_t tokens;            /* below 0 while those who took wait */
    uint64_t filled_ns;
};

void sr_rate_init(struct sr_rate *rate, uint64_t bytes_per_second, uint64_t now_ns);
void sr_rate_close(struct sr_rate *rate);
/* Any thread: take @bytes, and return for how many nanoseconds to wait before they may be sent. A
 * pause of any length saves up a tenth of a second, no more. */
uint64_t sr_rate_take(struct sr_rate *rate, size_t bytes, uint64_t now_ns);

#endif
