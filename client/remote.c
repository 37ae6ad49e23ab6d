/* SPDX-License-Identifier: Apache-2.0 */
#include "client/remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/commands.h"
#include "proto/message.h"

#define DEFAULT_ENDPOINT   "https://127.0.0.1:2379"
#define DEFAULT_TIMEOUT_MS 10000
#define SERVICE            "/strongroom.v1.Cluster/"
#define ANSWER_BYTES_MAX   ((size_t)16 * 1024 * 1024)
/* Between two tries while the cluster is not there yet. */
#define PAUSE_MS 200

/* ---- Options ---- */

int sr_remote_option(struct sr_remote *remote, int option, const char *value)
{
    char *end = NULL;
    unsigned long seconds = 0;
    switch (option) {
    case REMOTE_ENDPOINTS:
        remote->endpoints_text = value;
        return EXIT_DONE;
    case REMOTE_CA:
        remote->ca = value;
        return EXIT_DONE;
    case REMOTE_CERTIFICATE:
        remote->certificate = value;
        return EXIT_DONE;
    case REMOTE_KEY:
        remote->private_key = value;
        return EXIT_DONE;
    case REMOTE_TIMEOUT:
        seconds = strtoul(value, &end, 10);
        if (end == value || *end != 0 || seconds < 1 || seconds > 600) {
            fprintf(stderr, "strongroom: --timeout: %s: not a number of seconds from 1 to 600\n",
                    value);
            return EXIT_USAGE;
        }
        remote->timeout_ms = (unsigned)seconds * 1000;
        return EXIT_DONE;
    default:
        return -1;
    }
}

static void drop_endpoints(struct sr_remote *remote)
{
    for (size_t i = 0; i < remote->endpoint_count; i++) {
        sr_free(remote->endpoints[i]);
    }
    remote->endpoint_count = 0;
}

/* etcdctl takes host:port as well. */
static bool add_endpoint(struct sr_remote *remote, const char *text, size_t size)
{
    static const char scheme[] = "https://";
    const char *prefix = strncmp(text, scheme, sizeof(scheme) - 1) == 0 ? "" : scheme;
    if (size == 0 || remote->endpoint_count == SR_ENDPOINTS_MAX ||
        (*prefix != 0 && memmem(text, size, "://", 3) != NULL)) {
        return false;
    }
    while (size > 0 && text[size - 1] == '/') {
        size--;
    }
    size_t room = sizeof(scheme) + size;
    char *endpoint = sr_alloc(room);
    snprintf(endpoint, room, "%s%.*s", prefix, (int)size, text);
    remote->endpoints[remote->endpoint_count++] = endpoint;
    return true;
}

static int split_endpoints(struct sr_remote *remote, const char *text)
{
    while (true) {
        size_t size = strcspn(text, ",");
        if (!add_endpoint(remote, text, size)) {
            fprintf(stderr, "%s: endpoints: %.*s: not an https:// address, or too many\n",
                    remote->command, (int)size, text);
            return EXIT_USAGE;
        }
        if (text[size] == 0) {
            return EXIT_DONE;
        }
        text += size + 1;
    }
}

void sr_remote_redirect(struct sr_remote *remote, char *const *urls, size_t count)
{
    drop_endpoints(remote);
    for (size_t i = 0; i < count; i++) {
        add_endpoint(remote, urls[i], strlen(urls[i]));
    }
}

static const char *or_environment(const char *value, const char *name)
{
    const char *other = getenv(name);
    return value != NULL ? value : other != NULL && *other != 0 ? other : NULL;
}

static int need_file(const struct sr_remote *remote, const char *path, const char *option,
                     const char *variable)
{
    if (path == NULL) {
        fprintf(stderr, "%s: --%s FILE, or %s in the environment, is required\n", remote->command,
                option, variable);
        return EXIT_USAGE;
    }
    if (access(path, R_OK) != 0) {
        fprintf(stderr, "%s: --%s: %s: %m\n", remote->command, option, path);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int sr_remote_open(struct sr_remote *remote, const char *command)
{
    remote->command = command;
    sr_arena_init(&remote->arena, ANSWER_BYTES_MAX);
    remote->ca = or_environment(remote->ca, "STRONGROOM_CACERT");
    remote->certificate = or_environment(remote->certificate, "STRONGROOM_CERT");
    remote->private_key = or_environment(remote->private_key, "STRONGROOM_KEY");
    const char *endpoints = or_environment(remote->endpoints_text, "STRONGROOM_ENDPOINTS");
    if (remote->timeout_ms == 0) {
        remote->timeout_ms = DEFAULT_TIMEOUT_MS;
    }
    int code = split_endpoints(remote, endpoints == NULL ? DEFAULT_ENDPOINT : endpoints);
    if (code == EXIT_DONE) {
        code = need_file(remote, remote->ca, "cacert", "STRONGROOM_CACERT");
    }
    if (code == EXIT_DONE) {
        code = need_file(remote, remote->certificate, "cert", "STRONGROOM_CERT");
    }
    if (code == EXIT_DONE) {
        code = need_file(remote, remote->private_key, "key", "STRONGROOM_KEY");
    }
    return code;
}

void sr_remote_close(struct sr_remote *remote)
{
    drop_endpoints(remote);
    sr_arena_close(&remote->arena);
}

/* ---- Calls ---- */

/* Whether the next endpoint may be asked the same thing. */
static bool may_go_on(const struct sr_grpc_answer *answer, enum sr_remote_use use)
{
    if (answer->outcome == SR_GRPC_UNREACHED) {
        return true;
    }
    return use == REMOTE_READ &&
           (answer->outcome == SR_GRPC_BROKEN || answer->code == SR_GRPC_UNAVAILABLE);
}

static void add_reason(struct sr_err *err, const char *endpoint,
                       const struct sr_grpc_answer *answer)
{
    size_t used = strlen(err->text);
    const char *doubt = answer->outcome == SR_GRPC_BROKEN ? " (it may have happened)" : "";
    if (answer->outcome == SR_GRPC_ANSWERED) {
        snprintf(err->text + used, sizeof(err->text) - used, "%s%s: %s (%s)", used == 0 ? "" : "; ",
                 endpoint, answer->message, sr_grpc_code_name(answer->code));
    } else {
        snprintf(err->text + used, sizeof(err->text) - used, "%s%s: %s%s", used == 0 ? "" : "; ",
                 endpoint, answer->message, doubt);
    }
    err->status = SR_REFUSED;
}

static ProtobufCMessage *take_answer(struct sr_remote *remote, const struct sr_grpc_answer *answer,
                                     const ProtobufCMessageDescriptor *descriptor,
                                     struct sr_err *err)
{
    struct sr_err reason = {0};
    ProtobufCMessage *message = sr_message_unpack(descriptor, &remote->arena, answer->body.data,
                                                  answer->body.size, &reason);
    if (message == NULL) {
        sr_err_set(err, SR_INVALID, "%s: an answer that makes no sense: %s", remote->answered,
                   reason.text);
    }
    return message;
}

static void pack(struct sr_buf *out, const ProtobufCMessage *request)
{
    size_t size = protobuf_c_message_get_packed_size(request);
    protobuf_c_message_pack(request, sr_buf_extend(out, size));
}

/* A cluster that has only just started has no record to change yet: nothing happened, and soon the
 * same will work. */
static bool is_not_yet(const struct sr_grpc_answer *answer)
{
    return answer->outcome == SR_GRPC_ANSWERED &&
           answer->code == sr_api_error_code(SR_API_CLUSTER_UNKNOWN) &&
           strcmp(answer->message, sr_api_error_text(SR_API_CLUSTER_UNKNOWN)) == 0;
}

/* One call, and what came of it. */
struct call {
    struct sr_remote *remote;
    char path[128];
    enum sr_remote_use use;
    struct sr_buf packed;
    const ProtobufCMessageDescriptor *descriptor;
    enum sr_grpc_code code;
    bool is_not_yet;
};

static ProtobufCMessage *ask_in_turn(struct call *call, unsigned timeout_ms, struct sr_err *err)
{
    struct sr_remote *remote = call->remote;
    ProtobufCMessage *message = NULL;
    bool go_on = true;
    err->text[0] = 0;
    for (size_t i = 0; i < remote->endpoint_count && go_on; i++) {
        struct sr_grpc_answer answer;
        struct sr_grpc_target target = {.endpoint = remote->endpoints[i],
                                        .ca = remote->ca,
                                        .certificate = remote->certificate,
                                        .private_key = remote->private_key,
                                        .timeout_ms = timeout_ms};
        sr_grpc_call(&target, call->path, (struct sr_bytes){call->packed.data, call->packed.size},
                     &answer);
        remote->answered = target.endpoint;
        call->code = answer.code;
        call->is_not_yet = is_not_yet(&answer);
        go_on = false;
        if (answer.outcome == SR_GRPC_ANSWERED && answer.code == SR_GRPC_OK) {
            message = take_answer(remote, &answer, call->descriptor, err);
        } else {
            add_reason(err, target.endpoint, &answer);
            go_on = may_go_on(&answer, call->use);
        }
        sr_buf_close(&answer.body);
    }
    return message;
}

static uint64_t now_ms(void)
{
    return sr_clock_monotonic_ns() / 1000000;
}

ProtobufCMessage *sr_remote_call(struct sr_remote *remote, const char *method,
                                 enum sr_remote_use use, const ProtobufCMessage *request,
                                 const ProtobufCMessageDescriptor *answer_descriptor,
                                 enum sr_grpc_code *ret_code, struct sr_err *err)
{
    struct call call = {.remote = remote, .use = use, .descriptor = answer_descriptor};
    uint64_t deadline_ms = now_ms() + remote->timeout_ms;
    uint64_t at_ms = 0;
    snprintf(call.path, sizeof(call.path), "%s%s", *method == '/' ? "" : SERVICE, method);
    pack(&call.packed, request);
    ProtobufCMessage *message = ask_in_turn(&call, remote->timeout_ms, err);
    while (message == NULL && call.is_not_yet && (at_ms = now_ms() + PAUSE_MS) < deadline_ms) {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
        message = ask_in_turn(&call, (unsigned)(deadline_ms - at_ms), err);
    }
    if (ret_code != NULL) {
        *ret_code = call.code;
    }
    sr_buf_close(&call.packed);
    return message;
}
