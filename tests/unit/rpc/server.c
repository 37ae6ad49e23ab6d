/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "test_pki.h"

#define HELD_MAX 8192

struct test_loop {
    struct test_server *server;
    struct sr_mail release;
    struct sr_call *held[HELD_MAX];
    size_t held_count;
};

void test_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void reply_bytes(struct sr_call *call, const void *data, size_t size)
{
    struct sr_buf reply = {0};
    sr_buf_append(&reply, data, size);
    sr_call_reply(call, &reply);
    assert_int_equal(reply.size, 0);
    sr_buf_close(&reply);
}

static void who(struct sr_call *call)
{
    char text[200];
    int used =
        snprintf(text, sizeof(text), "%s|%s|", call->actor, call->has_leader ? "true" : "false");
    for (size_t i = 0; call->has_request_id && i < 16; i++) {
        used += snprintf(text + used, sizeof(text) - (size_t)used, "%02x", call->request_id[i]);
    }
    reply_bytes(call, text, strlen(text));
}

static void big(struct sr_call *call)
{
    struct sr_buf reply = {0};
    size_t size = sr_get_u32(call->message.data);
    uint8_t *out = sr_buf_extend(&reply, size);
    for (size_t i = 0; i < size; i++) {
        out[i] = (uint8_t)(i * 31 >> 3);
    }
    sr_call_reply(call, &reply);
}

static void on_call(void *arg, struct sr_call *call)
{
    struct test_loop *loop = arg;
    atomic_fetch_add(&loop->server->calls, 1);
    if (strcmp(call->path, "/test.S/Echo") == 0) {
        reply_bytes(call, call->message.data, call->message.size);
    } else if (strcmp(call->path, "/test.S/Hold") == 0) {
        assert_true(loop->held_count < HELD_MAX);
        call->state = loop;
        loop->held[loop->held_count++] = call;
    } else if (strcmp(call->path, "/test.S/Big") == 0) {
        big(call);
    } else if (strcmp(call->path, "/test.S/Who") == 0) {
        who(call);
    } else if (strcmp(call->path, "/test.S/Fail") == 0) {
        char *text = sr_zalloc(call->message.size + 1);
        memcpy(text, call->message.data, call->message.size);
        sr_call_fail(call, SR_GRPC_NOT_FOUND, text);
        sr_free(text);
    } else {
        sr_call_fail(call, SR_GRPC_UNIMPLEMENTED, "unknown service");
    }
}

static void on_cancel(void *arg, struct sr_call *call)
{
    struct test_loop *loop = arg;
    size_t i = 0;
    while (i < loop->held_count && loop->held[i] != call) {
        i++;
    }
    assert_true(i < loop->held_count && call->state == loop);
    loop->held[i] = loop->held[--loop->held_count];
    atomic_fetch_add(&loop->server->cancelled, 1);
}

static void on_mail(void *arg, struct sr_mail *list)
{
    struct test_loop *loop = arg;
    assert_non_null(list);
    atomic_fetch_add(&loop->server->mails, 1);
    while (loop->held_count > 0) {
        struct sr_call *call = loop->held[--loop->held_count];
        reply_bytes(call, call->message.data, call->message.size);
    }
}

static void on_tick(void *arg, uint64_t now_ns)
{
    struct test_loop *loop = arg;
    (void)now_ns;
    atomic_fetch_add(&loop->server->ticks, 1);
}

void test_server_start(struct test_server *server, unsigned loop_count, size_t connections_max)
{
    char files[3][96];
    struct sr_err err = {0};
    *server = (struct test_server){.dir = "/tmp/sr-rpc-XXXXXX", .loop_count = loop_count};
    assert_non_null(mkdtemp(server->dir));
    test_pki_make(server->dir);
    snprintf(files[0], sizeof(files[0]), "%s/node-1.crt", server->dir);
    snprintf(files[1], sizeof(files[1]), "%s/node-1.key", server->dir);
    snprintf(files[2], sizeof(files[2]), "%s/ca.crt", server->dir);
    struct sr_tls_files tls = {files[0], files[1], files[2]};
    struct sr_rpc_options options = {.listen = "127.0.0.1:0",
                                     .tls = &tls,
                                     .loop_count = loop_count,
                                     .connections_max = connections_max};
    if (sr_rpc_open(&options, &server->rpc, &err) != SR_OK) {
        fail_msg("sr_rpc_open: %s", err.text);
    }
    server->port = sr_rpc_port(server->rpc);
    server->loops = sr_calloc(loop_count, sizeof(*server->loops));
    for (unsigned i = 0; i < loop_count; i++) {
        server->loops[i].server = server;
        struct sr_rpc_handler handler = {.on_call = on_call,
                                         .on_cancel = on_cancel,
                                         .on_mail = on_mail,
                                         .on_tick = on_tick,
                                         .arg = &server->loops[i]};
        sr_rpc_set_handler(server->rpc, i, &handler);
    }
    sr_rpc_start(server->rpc);
}

void test_server_release(struct test_server *server)
{
    for (unsigned i = 0; i < server->loop_count; i++) {
        assert_true(sr_mailbox_post(sr_rpc_mailbox(server->rpc, i), &server->loops[i].release));
    }
}

void test_server_stop(struct test_server *server)
{
    char command[128];
    sr_rpc_stop(server->rpc);
    assert_int_equal(sr_gauge_read(&sr_rpc_metrics(server->rpc)->open_calls), 0);
    sr_rpc_free(server->rpc);
    sr_free(server->loops);
    snprintf(command, sizeof(command), "rm -r %s", server->dir);
    assert_int_equal(system(command), 0);
}
