/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream without a network: linked in front of node/net, it lets a connection run on bytes
 * alone, and at whatever time a test says it is. There is one of it.
 */
#ifndef SR_TESTS_UNIT_RPC_FAKE_STREAM_H
#define SR_TESTS_UNIT_RPC_FAKE_STREAM_H

#include "node/net/stream.h"

struct sr_stream {
    const struct sr_stream_events *events;
    void *arg;
    struct sr_buf out; /* written, and not taken by the other side */
    uint64_t sent;
    bool stuck; /* the other side does not read */
    bool paused;
    bool closed;
};

extern struct sr_stream fake_stream;

#endif
