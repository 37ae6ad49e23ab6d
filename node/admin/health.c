/* SPDX-License-Identifier: Apache-2.0 */
#include "node/admin/health.h"

#include <string.h>

#include "base/status.h"

#define HTTP_OK          200
#define HTTP_UNAVAILABLE 503

static void put(struct sr_buf *page, const char *text)
{
    sr_buf_append(page, text, strlen(text));
}

struct check {
    const char *name;
    const char *failure; /* NULL: passed */
};

/* "ok", or every failed check; all of them when @verbose. */
static unsigned put_checks(const struct check *checks, size_t count, bool verbose,
                           struct sr_buf *page)
{
    bool failed = false;
    for (size_t i = 0; i < count; i++) {
        if (checks[i].failure != NULL) {
            failed = true;
            put(page, "[-]");
            put(page, checks[i].name);
            put(page, " failed: ");
            put(page, checks[i].failure);
            put(page, "\n");
        } else if (verbose) {
            put(page, "[+]");
            put(page, checks[i].name);
            put(page, " ok\n");
        }
    }
    if (!failed) {
        put(page, "ok\n");
    }
    return failed ? HTTP_UNAVAILABLE : HTTP_OK;
}

static struct check store_check(const struct sr_health *health)
{
    return (struct check){"store", health->store_status == SR_OK ? NULL : health->store_text};
}

unsigned sr_health_livez(const struct sr_health *health, bool verbose, struct sr_buf *page)
{
    const struct check checks[] = {store_check(health)};
    return put_checks(checks, sizeof(checks) / sizeof(checks[0]), verbose, page);
}

unsigned sr_health_readyz(const struct sr_health *health, bool verbose, struct sr_buf *page)
{
    const struct check checks[] = {
        store_check(health),
        {"leader", health->has_leader ? NULL : "no leader is known"},
        {"disk", health->log_full ? "the disk is full and the log waits for space" : NULL},
        {"replica", health->accused ? "its state differs from that of the other members" : NULL},
        {"serving", health->stopping ? "the node is stopping" : NULL},
    };
    return put_checks(checks, sizeof(checks) / sizeof(checks[0]), verbose, page);
}

/* The words are etcd's where it has them. */
static const char *health_reason(const struct sr_health *health, bool serializable,
                                 bool exclude_no_space)
{
    if (health->store_status == SR_CORRUPT || health->accused || health->alarm_corrupt) {
        return "ALARM CORRUPT";
    }
    if (health->store_status != SR_OK) {
        return "STORE FAILED";
    }
    if ((!health->has_space || health->log_full || health->alarm_no_space) && !exclude_no_space) {
        return "ALARM NOSPACE";
    }
    if (!health->has_leader && !serializable) {
        return "RAFT NO LEADER";
    }
    return health->stopping ? "STOPPING" : NULL;
}

unsigned sr_health_health(const struct sr_health *health, bool serializable, bool exclude_no_space,
                          struct sr_buf *page)
{
    const char *reason = health_reason(health, serializable, exclude_no_space);
    put(page, reason == NULL ? "{\"health\":\"true\",\"reason\":\""
                             : "{\"health\":\"false\",\"reason\":\"");
    put(page, reason == NULL ? "" : reason);
    put(page, reason == NULL ? "\"}" : "\"}\n");
    return reason == NULL ? HTTP_OK : HTTP_UNAVAILABLE;
}
