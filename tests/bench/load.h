/* SPDX-License-Identifier: Apache-2.0
 *
 * The load program: N clients, each with one call open at a time, spread over M TLS connections:
 * a closed loop, or calls at a steady rate. One thread, epoll, nghttp2; every answer's grpc-status
 * is checked.
 */
#ifndef SR_TESTS_BENCH_LOAD_H
#define SR_TESTS_BENCH_LOAD_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* ---- histogram: durations with three significant digits ---- */

#define LOAD_SUB_BUCKETS 128
struct load_histogram {
    uint64_t counts[40 * LOAD_SUB_BUCKETS];
    uint64_t total;
};
void load_histogram_add(struct load_histogram *histogram, uint64_t ns);
/* The duration that @fraction of all were no longer than, in ns. */
uint64_t load_histogram_quantile(const struct load_histogram *histogram, double fraction);

/* ---- operations ---- */

enum load_op { LOAD_PUT, LOAD_GET, LOAD_SERIALIZABLE_GET, LOAD_MIX, LOAD_FILL };

struct load_options {
    const char *endpoints; /* comma-separated host:port, https:// allowed */
    const char *ca;
    const char *certificate;
    const char *key;
    enum load_op op;
    unsigned clients;
    unsigned connections;
    uint64_t keys;
    unsigned value_bytes;
    double seconds; /* fill: until all keys are written */
    double rate;    /* calls begun a second, all clients together; 0: as fast as answers come */
    bool survive;   /* a server may die: connect to the next, and note how long nothing worked */
    uint64_t seed;
};

/* What one client is to do next: a gRPC path and its framed request. */
struct load_request {
    const char *path;
    bool is_get;
    struct sr_buf message; /* with the five-byte gRPC prefix */
};
/* False when there is nothing left to do (fill). */
bool load_next_request(struct load_request *request);
void load_ops_init(const struct load_options *options);

/* ---- connections ---- */

struct load_connection;

struct load_client {
    struct load_connection *connection;
    struct load_request request;
    size_t sent; /* of request.message */
    uint64_t started_ns;
    bool is_open;                  /* it waits for an answer */
    struct load_client *next_idle; /* with a rate: waits for its turn */
    uint64_t resume_ns; /* survive: when it calls again after a failure; 0: it need not */
    size_t answer_bytes;
    int grpc_status; /* -1: not seen */
    char grpc_message[200];
    int32_t stream_id;
};

struct load_events {
    /* A call ended: OK or not. */
    void (*on_done)(struct load_client *client, bool ok);
    /* The connection is lost, and its calls with it: close it. NULL: the program ends instead. */
    void (*on_lost)(struct load_connection *connection);
};

/* NULL when there is nobody, if @events has on_lost. */
struct load_connection *load_connect(const struct load_options *options, SSL_CTX *tls,
                                     const char *endpoint, const struct load_events *events);
int load_connection_fd(const struct load_connection *connection);
/* Submit client->request. */
void load_submit(struct load_connection *connection, struct load_client *client);
/* Read what there is. False: the connection was lost, and is gone. */
bool load_readable(struct load_connection *connection);
/* Write what is queued. True when the socket is full and writability is wanted. A connection that
 * breaks here is found to be lost when it is read. */
bool load_flush(struct load_connection *connection);
void load_connection_close(struct load_connection *connection);

/* ---- gaps: times in which no call succeeded ---- */

/* A call succeeded. */
void load_gaps_success(uint64_t now_ns);
/* Nothing more will come: print them as JSON, in seconds of CLOCK_MONOTONIC, the oldest first. */
void load_gaps_print(uint64_t now_ns);

_Noreturn void load_die(const char *what, const char *detail);

#endif
