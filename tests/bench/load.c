/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom-load: measures an etcd v3 server. Prints one line of JSON: calls, errors, seconds,
 * throughput, latencies, and the share of a core that this program itself took.
 */
#include "tests/bench/load.h"

#include <getopt.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "base/clock.h"

#define CONNECTIONS_MAX 1024
#define ENDPOINTS_MAX   16
#define PAUSE_NS        UINT64_C(10000000)

static struct {
    struct load_options options;
    struct load_connection *connections[CONNECTIONS_MAX]; /* NULL: lost */
    bool wants_write[CONNECTIONS_MAX];
    unsigned at_endpoint[CONNECTIONS_MAX];
    char *endpoints[ENDPOINTS_MAX];
    unsigned endpoint_count;
    struct load_events events;
    struct load_client *clients;
    struct load_histogram latencies;
    uint64_t begin_ns;
    uint64_t end_ns;
    struct load_client *idle; /* with a rate: those without a call */
    uint64_t due_ns;          /* with a rate: when the next call is to begin */
    uint64_t good;
    uint64_t bad;
    unsigned open;
} run = {.options = {.op = LOAD_PUT,
                     .clients = 1,
                     .connections = 0,
                     .keys = 1000000,
                     .value_bytes = 256,
                     .seconds = 10,
                     .seed = 1}};

static void start_at(struct load_client *client, uint64_t at_ns)
{
    bool over = run.options.op != LOAD_FILL && at_ns >= run.end_ns;
    if (over || !load_next_request(&client->request)) {
        return;
    }
    client->started_ns = at_ns;
    client->is_open = true;
    client->resume_ns = 0;
    run.open++;
    load_submit(client->connection, client);
}

static void start_next(struct load_client *client)
{
    if (run.options.rate > 0) {
        client->next_idle = run.idle;
        run.idle = client;
    } else {
        start_at(client, sr_clock_monotonic_ns());
    }
}

/* With a rate: begin what is due. A call that had to wait for a client has been slow from the
 * moment that it was due on, or a server that stalls would look better than it is. */
static void start_due(void)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    while (run.idle != NULL && run.due_ns <= now_ns && run.due_ns < run.end_ns) {
        struct load_client *client = run.idle;
        run.idle = client->next_idle;
        start_at(client, run.due_ns);
        run.due_ns += (uint64_t)(1e9 / run.options.rate);
    }
}

static void on_done(struct load_client *client, bool ok)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    run.open--;
    client->is_open = false;
    if (ok) {
        run.good++;
        load_histogram_add(&run.latencies, now_ns - client->started_ns);
        if (run.options.survive) {
            load_gaps_success(now_ns);
        }
    } else if (run.bad++ < 5) {
        fprintf(stderr, "strongroom-load: call failed: grpc-status %d %s, %zu bytes\n",
                client->grpc_status, client->grpc_message, client->answer_bytes);
    }
    if (run.options.survive && !ok) {
        client->resume_ns = now_ns + PAUSE_NS;
    } else {
        start_next(client);
    }
}

/* ---- what a server's death costs, with --survive ---- */

static void on_lost(struct load_connection *connection)
{
    for (unsigned i = 0; i < run.options.connections; i++) {
        if (run.connections[i] == connection) {
            run.connections[i] = NULL;
        }
    }
    for (unsigned i = 0; i < run.options.clients; i++) {
        struct load_client *client = &run.clients[i];
        if (client->connection == connection) {
            client->connection = NULL;
            if (client->is_open) {
                on_done(client, false);
            }
        }
    }
    load_connection_close(connection);
}

static void reconnect(int epoll, SSL_CTX *tls, unsigned i)
{
    const char *endpoint = run.endpoints[++run.at_endpoint[i] % run.endpoint_count];
    run.connections[i] = load_connect(&run.options, tls, endpoint, &run.events);
    if (run.connections[i] == NULL) {
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, load_connection_fd(run.connections[i]), &event);
    run.wants_write[i] = false;
    for (unsigned client = i; client < run.options.clients; client += run.options.connections) {
        run.clients[client].connection = run.connections[i];
    }
}

/* What failed goes on: with the next server, after a moment. */
static void resume(int epoll, SSL_CTX *tls)
{
    for (unsigned i = 0; i < run.options.connections; i++) {
        if (run.connections[i] == NULL) {
            reconnect(epoll, tls, i);
        }
    }
    uint64_t now_ns = sr_clock_monotonic_ns();
    for (unsigned i = 0; i < run.options.clients; i++) {
        struct load_client *client = &run.clients[i];
        if (client->resume_ns != 0 && client->resume_ns <= now_ns && client->connection != NULL) {
            start_next(client);
        }
    }
}

/* ---- set-up ---- */

static SSL_CTX *make_tls(const struct load_options *options)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || SSL_CTX_load_verify_locations(tls, options->ca, NULL) != 1 ||
        SSL_CTX_use_certificate_chain_file(tls, options->certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, options->key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_set_alpn_protos(tls, (const unsigned char *)"\x02h2", 3) != 0) {
        load_die("certificates", ERR_reason_error_string(ERR_peek_last_error()));
    }
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    return tls;
}

/* @list stays with the endpoints. */
static void connect_all(SSL_CTX *tls, char *list)
{
    run.events = (struct load_events){.on_done = on_done};
    for (char *at = strtok(list, ","); at != NULL && run.endpoint_count < ENDPOINTS_MAX;
         at = strtok(NULL, ",")) {
        run.endpoints[run.endpoint_count++] = at;
    }
    for (unsigned i = 0; i < run.options.connections; i++) {
        run.at_endpoint[i] = i % run.endpoint_count;
        run.connections[i] =
            load_connect(&run.options, tls, run.endpoints[run.at_endpoint[i]], &run.events);
    }
    if (run.options.survive) {
        run.events.on_lost = on_lost;
    }
}

static enum load_op parse_op(const char *name)
{
    static const char *const names[] = {"put", "get", "sget", "mix", "fill"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return (enum load_op)i;
        }
    }
    load_die("--op must be put, get, sget, mix or fill", name);
}

static void print_help(void)
{
    puts(
        "usage: strongroom-load --endpoints H:P[,H:P] --cacert F --cert F --key F\n"
        "  --op put|get|sget|mix|fill   what to do (sget: serializable get; mix: 90 % gets)\n"
        "  --clients N                  calls open at a time\n"
        "  --connections N              default: the smaller of clients and 16\n"
        "  --keys N --value-bytes N     key space and size of values\n"
        "  --seconds S                  how long (fill: until every key is written)\n"
        "  --rate N                     begin N calls a second; a call counts from when it was\n"
        "                               due. Default: the next call after the last answer\n"
        "  --survive                    connect to the next endpoint when a server dies, and tell\n"
        "                               how long nothing worked\n"
        "  --seed N");
    exit(0);
}

static void parse(int argc, char **argv)
{
    static const struct option names[] = {
        {"endpoints", 1, NULL, 'e'},   {"cacert", 1, NULL, 'a'}, {"cert", 1, NULL, 'c'},
        {"key", 1, NULL, 'k'},         {"op", 1, NULL, 'o'},     {"clients", 1, NULL, 'n'},
        {"connections", 1, NULL, 'm'}, {"keys", 1, NULL, 'K'},   {"value-bytes", 1, NULL, 'v'},
        {"seconds", 1, NULL, 's'},     {"seed", 1, NULL, 'S'},   {"survive", 0, NULL, 'u'},
        {"rate", 1, NULL, 'r'},        {"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0}};
    struct load_options *options = &run.options;
    int option = 0;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'e':
            options->endpoints = optarg;
            break;
        case 'a':
            options->ca = optarg;
            break;
        case 'c':
            options->certificate = optarg;
            break;
        case 'k':
            options->key = optarg;
            break;
        case 'o':
            options->op = parse_op(optarg);
            break;
        case 'n':
            options->clients = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'm':
            options->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'K':
            options->keys = strtoull(optarg, NULL, 10);
            break;
        case 'v':
            options->value_bytes = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 's':
            options->seconds = strtod(optarg, NULL);
            break;
        case 'r':
            options->rate = strtod(optarg, NULL);
            break;
        case 'S':
            options->seed = strtoull(optarg, NULL, 10);
            break;
        case 'u':
            options->survive = true;
            break;
        case 'h':
            print_help();
            break;
        default:
            exit(2);
        }
    }
    if (options->endpoints == NULL || options->ca == NULL || options->certificate == NULL ||
        options->key == NULL || options->clients == 0 || options->keys == 0) {
        load_die("usage", "--endpoints, --cacert, --cert and --key are required; see --help");
    }
    if (options->rate < 0 ||
        (options->rate > 0 && (options->survive || options->op == LOAD_FILL))) {
        load_die("--rate", "above 0, and not with --survive or --op fill");
    }
    if (options->connections == 0) {
        options->connections = options->clients < 16 ? options->clients : 16;
    }
    if (options->connections > CONNECTIONS_MAX || options->connections > options->clients) {
        load_die("--connections", "at most 1024, and at most one a client");
    }
}

/* ---- the loop ---- */

static void flush_all(int epoll)
{
    for (unsigned i = 0; i < run.options.connections; i++) {
        bool wants = run.connections[i] != NULL && load_flush(run.connections[i]);
        if (run.connections[i] != NULL && wants != run.wants_write[i]) {
            struct epoll_event event = {.events = EPOLLIN | (wants ? EPOLLOUT : 0), .data.u32 = i};
            epoll_ctl(epoll, EPOLL_CTL_MOD, load_connection_fd(run.connections[i]), &event);
            run.wants_write[i] = wants;
        }
    }
}

static bool is_over(void)
{
    if (run.options.survive) {
        return sr_clock_monotonic_ns() >= run.end_ns;
    }
    return run.open == 0 && (run.options.rate == 0 || run.due_ns >= run.end_ns);
}

static int patience_ms(void)
{
    if (run.options.rate > 0) {
        return 1;
    }
    return run.options.survive ? 5 : 1000;
}

static void loop(SSL_CTX *tls)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < run.options.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, load_connection_fd(run.connections[i]), &event);
    }
    for (unsigned i = 0; i < run.options.clients; i++) {
        run.clients[i].connection = run.connections[i % run.options.connections];
        start_next(&run.clients[i]);
    }
    while (!is_over()) {
        if (run.options.survive) {
            resume(epoll, tls);
        }
        if (run.options.rate > 0) {
            start_due();
        }
        flush_all(epoll);
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, patience_ms());
        for (int i = 0; i < count; i++) {
            bool is_there = run.connections[events[i].data.u32] != NULL;
            if (is_there && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                load_readable(run.connections[events[i].data.u32]);
            }
        }
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(double seconds, double cpu)
{
    printf("{\"calls\": %llu, \"errors\": %llu, \"seconds\": %.3f, \"per_second\": %.1f, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"own_cpu_share\": %.2f",
           (unsigned long long)run.good, (unsigned long long)run.bad, seconds,
           (double)run.good / seconds, (double)load_histogram_quantile(&run.latencies, 0.5) / 1e6,
           (double)load_histogram_quantile(&run.latencies, 0.99) / 1e6,
           (double)load_histogram_quantile(&run.latencies, 0.999) / 1e6, cpu / seconds);
    if (run.options.survive) {
        printf(", \"gaps\": ");
        load_gaps_print(sr_clock_monotonic_ns());
    }
    printf("}\n");
}

int main(int argc, char **argv)
{
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    load_ops_init(&run.options);
    SSL_CTX *tls = make_tls(&run.options);
    char *list = sr_strdup(run.options.endpoints);
    connect_all(tls, list);
    run.clients = sr_calloc(run.options.clients, sizeof(*run.clients));
    double cpu_before = cpu_seconds();
    run.begin_ns = sr_clock_monotonic_ns();
    run.due_ns = run.begin_ns;
    run.end_ns = run.begin_ns + (uint64_t)(run.options.seconds * 1e9);
    loop(tls);
    report((double)(sr_clock_monotonic_ns() - run.begin_ns) / 1e9, cpu_seconds() - cpu_before);
    for (unsigned i = 0; i < run.options.connections; i++) {
        if (run.connections[i] != NULL) {
            load_connection_close(run.connections[i]);
        }
    }
    for (unsigned i = 0; i < run.options.clients; i++) {
        sr_buf_close(&run.clients[i].request.message);
    }
    sr_free(run.clients);
    sr_free(list);
    SSL_CTX_free(tls);
    return run.bad == 0 || run.options.survive ? 0 : 1;
}
