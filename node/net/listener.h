/* SPDX-License-Identifier: Apache-2.0
 *
 * A listening TCP socket on a libuv loop that hands out plain descriptors, ready for
 * sr_stream_accept. When the process is out of descriptors it stops to accept for a moment and
 * leaves what waits in the kernel's backlog.
 */
#ifndef SR_NODE_NET_LISTENER_H
#define SR_NODE_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct sr_listener;

/* @fd is the callee's from here on: non-blocking, close-on-exec. */
typedef void sr_listener_cb(void *arg, uv_os_sock_t fd);

struct sr_listener_options {
    uv_loop_t *loop;
    const char
        *address;    /* host:port; port 0 lets the system choose. Names may block: see address.h */
    bool reuse_port; /* several loops listen on one port and the kernel spreads connections */
    sr_listener_cb *on_accept;
    void *arg;
};

/* SR_NETWORK when the address is taken or not ours, SR_INVALID. */
int sr_listener_open(const struct sr_listener_options *options, struct sr_listener **ret,
                     struct sr_err *err);
/* Stop and free; @done (may be NULL) comes from the loop, no connection after the call. */
void sr_listener_close(struct sr_listener *listener, void (*done)(void *arg), void *arg);
/* The port in use. */
uint16_t sr_listener_port(const struct sr_listener *listener);

#endif
