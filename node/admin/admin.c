/* SPDX-License-Identifier: Apache-2.0
 *
 * The listener and its routes. One thread of libmicrohttpd's serves everything; pages are made
 * from counters and atomics, so a page never waits for the node.
 */
#include "node/admin/admin.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/admin/admin_tls.h"
#include "node/admin/exposition.h"
#include "node/admin/health.h"
#include "node/admin/metrics_page.h"
#include "node/admin/standing_page.h"
#include "node/net/address.h"

#define CONNECTIONS_MAX      64
#define CONNECTION_TIMEOUT_S 10
#define CONNECTION_BYTES_MAX (32 * 1024)
#define JSON                 "application/json"
#define PLAIN                "text/plain; charset=utf-8"

struct sr_admin {
    struct sr_admin_options options;
    struct MHD_Daemon *daemon;
    bool has_tls;
    struct sr_admin_tls tls;
};

/* ---- Pages ---- */

static bool has_query(struct MHD_Connection *connection, const char *name, const char *value)
{
    const char *given = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    return given != NULL && strcmp(given, value) == 0;
}

static bool is_verbose(struct MHD_Connection *connection)
{
    /* "?verbose" has no value, "?verbose=" an empty one. */
    return MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, "verbose",
                                         strlen("verbose"), NULL, NULL) == MHD_YES;
}

static struct sr_health look(const struct sr_admin *admin, struct sr_err *err)
{
    const struct sr_admin_options *node = &admin->options;
    struct sr_consensus_info info;
    sr_consensus_info(node->consensus, &info);
    struct sr_cluster_overview overview;
    node->overview(node->arg, &overview);
    int status = sr_store_failure(node->store, err);
    return (struct sr_health){.store_status = status,
                              .store_text = status == SR_OK ? "" : err->text,
                              .has_leader = info.leader != 0,
                              .has_space = sr_store_has_space(node->store),
                              .log_full = info.log_full,
                              .accused = overview.accused,
                              .alarm_corrupt = overview.alarms_corrupt > 0,
                              .alarm_no_space = overview.alarms_no_space > 0,
                              .stopping = atomic_load(node->stopping)};
}

static unsigned livez(const struct sr_admin *admin, struct MHD_Connection *connection,
                      struct sr_buf *page)
{
    struct sr_err err = {0};
    struct sr_health health = look(admin, &err);
    return sr_health_livez(&health, is_verbose(connection), page);
}

static unsigned readyz(const struct sr_admin *admin, struct MHD_Connection *connection,
                       struct sr_buf *page)
{
    struct sr_err err = {0};
    struct sr_health health = look(admin, &err);
    return sr_health_readyz(&health, is_verbose(connection), page);
}

static unsigned health(const struct sr_admin *admin, struct MHD_Connection *connection,
                       struct sr_buf *page)
{
    struct sr_err err = {0};
    struct sr_health known = look(admin, &err);
    return sr_health_health(&known, has_query(connection, "serializable", "true"),
                            has_query(connection, "exclude", "NOSPACE"), page);
}

static unsigned metrics(const struct sr_admin *admin, struct MHD_Connection *connection,
                        struct sr_buf *page)
{
    (void)connection;
    sr_metrics_page(&admin->options, page);
    return MHD_HTTP_OK;
}

static unsigned status(const struct sr_admin *admin, struct MHD_Connection *connection,
                       struct sr_buf *page)
{
    (void)connection;
    sr_status_page(&admin->options, page);
    return MHD_HTTP_OK;
}

static const struct route {
    const char *path;
    const char *type;
    unsigned (*make)(const struct sr_admin *admin, struct MHD_Connection *connection,
                     struct sr_buf *page);
} routes[] = {
    {"/livez", PLAIN, livez},   {"/readyz", PLAIN, readyz},
    {"/health", PLAIN, health}, {"/metrics", SR_EXPOSITION_TYPE, metrics},
    {"/status", JSON, status},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(routes[i].path, path) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

/* ---- Answering ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              const char *allow, const struct sr_buf *page)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        page->size, page->size == 0 ? "" : (void *)page->data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL) {
        return MHD_NO; /* closes the connection */
    }
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (result == MHD_YES && allow != NULL) {
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    }
    if (result == MHD_YES) {
        result = MHD_queue_response(connection, status, response);
    }
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *allow, const char *text)
{
    struct sr_buf page = {0};
    sr_buf_append(&page, text, strlen(text));
    enum MHD_Result result = answer(connection, status, PLAIN, allow, &page);
    sr_buf_close(&page);
    return result;
}

/* With TLS, nobody gets anything without a certificate of the CA. */
static bool is_let_in(const struct sr_admin *admin, struct MHD_Connection *connection)
{
    if (!admin->has_tls) {
        return true;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL && sr_admin_tls_is_trusted(info->tls_session);
}

/* Its shape is libmicrohttpd's. NOLINTNEXTLINE(readability-function-size) */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_size, void **state)
{
    (void)version;
    (void)body;
    static int seen;
    if (*state == NULL) { /* the headers; whatever else comes is called for again */
        *state = &seen;
        return MHD_YES;
    }
    *body_size = 0;
    const struct sr_admin *admin = arg;
    if (!is_let_in(admin, connection)) {
        return answer_text(connection, MHD_HTTP_FORBIDDEN, NULL,
                           "a client certificate of the cluster's CA is required\n");
    }
    const struct route *route = find_route(path);
    if (route == NULL) {
        return answer_text(connection, MHD_HTTP_NOT_FOUND, NULL, "404 page not found\n");
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD",
                           "Method Not Allowed\n");
    }
    struct sr_buf page = {0};
    unsigned status = route->make(admin, connection, &page);
    enum MHD_Result result = answer(connection, status, route->type, NULL, &page);
    sr_buf_close(&page);
    return result;
}

/* ---- Up and down ---- */

static void on_connection(void *arg, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)state;
    const struct sr_admin *admin = arg;
    if (what != MHD_CONNECTION_NOTIFY_STARTED || !admin->has_tls) {
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info != NULL) {
        sr_admin_tls_require(info->tls_session);
    }
}

/* libmicrohttpd's own complaints: failed handshakes and the like. */
static void on_log(void *arg, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void on_log(void *arg, const char *format, va_list arguments)
{
    (void)arg;
    char text[256];
    vsnprintf(text, sizeof(text), format, arguments);
    for (char *c = text; *c != 0; c++) {
        if ((unsigned char)*c < ' ' || *c == '"') {
            *c = ' ';
        }
    }
    sr_log(SR_LOG_DEBUG, "admin", "http", "text=\"%s\"", text);
}

static int start_daemon(struct sr_admin *admin, const struct sockaddr_storage *address,
                        struct sr_err *err)
{
    bool tls = admin->has_tls;
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_ERROR_LOG;
    flags |= tls ? MHD_USE_TLS : 0;
    flags |= address->ss_family == AF_INET6 ? MHD_USE_IPv6 : 0;
    static char priorities[] = SR_ADMIN_TLS_PRIORITIES;
    struct MHD_OptionItem tls_options[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, admin->tls.certificate},
                                           {MHD_OPTION_HTTPS_MEM_KEY, 0, admin->tls.private_key},
                                           {MHD_OPTION_HTTPS_MEM_TRUST, 0, admin->tls.ca},
                                           {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
                                           {MHD_OPTION_END, 0, NULL}};
    errno = 0;
    admin->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, admin, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)address, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, admin, MHD_OPTION_ARRAY,
        tls ? tls_options : &tls_options[4], MHD_OPTION_END);
    if (admin->daemon == NULL && errno != 0) {
        return sr_err_errno(err, SR_NETWORK, errno, "listen on %s", admin->options.listen);
    }
    if (admin->daemon == NULL) {
        return sr_err_set(err, SR_INVALID, "listen on %s: certificate and key cannot be used",
                          admin->options.listen);
    }
    return SR_OK;
}

int sr_admin_start(const struct sr_admin_options *options, struct sr_admin **ret,
                   struct sr_err *err)
{
    struct sr_admin *admin = sr_zalloc(sizeof(*admin));
    admin->options = *options;
    admin->options.tls = NULL; /* read once, below */
    admin->has_tls = options->tls != NULL;
    struct sockaddr_storage address;
    int status = sr_address_resolve(options->listen, &address, err);
    if (status == SR_OK && options->tls != NULL) {
        status = sr_admin_tls_read(options->tls, &admin->tls, err);
    }
    if (status == SR_OK) {
        status = start_daemon(admin, &address, err);
    }
    if (status != SR_OK) {
        sr_admin_stop(admin);
        return status;
    }
    *ret = admin;
    return SR_OK;
}

unsigned sr_admin_port(const struct sr_admin *admin)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info == NULL ? 0 : info->port;
}

void sr_admin_stop(struct sr_admin *admin)
{
    if (admin == NULL) {
        return;
    }
    if (admin->daemon != NULL) {
        MHD_stop_daemon(admin->daemon);
    }
    sr_admin_tls_close(&admin->tls);
    sr_free(admin);
}
