/* SPDX-License-Identifier: Apache-2.0
 *
 * Two clusters that both hold themselves for the one are worse than none: before a new one is made,
 * whatever can be seen from here of the old one is looked at.
 */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "node/recover/recover.h"
#include "storage/cluster.h"

#define CHANGED_MS 60000
#define CONNECT_MS 2000

/* Whether a connection to it is accepted. */
static bool connects(const struct addrinfo *info)
{
    int failed = 0;
    socklen_t size = sizeof(failed);
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    info->ai_protocol);
    if (fd < 0) {
        return false;
    }
    if (connect(fd, info->ai_addr, info->ai_addrlen) != 0) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        failed = errno;
        if (failed == EINPROGRESS && poll(&wait, 1, CONNECT_MS) == 1 &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) {
            failed = errno;
        }
    }
    close(fd);
    return failed == 0;
}

/* Of "host:port" or "[host]:port". */
static bool answers(const char *address)
{
    char host[256];
    const char *port = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    bool found = false;
    if (port == NULL || (size_t)(port - address) >= sizeof(host)) {
        return false;
    }
    bool brackets = address[0] == '[' && port > address + 1 && port[-1] == ']';
    snprintf(host, sizeof(host), "%.*s", (int)(port - address) - (brackets ? 2 : 0),
             address + (brackets ? 1 : 0));
    if (getaddrinfo(host, port + 1, &hints, &list) != 0) {
        return false;
    }
    for (const struct addrinfo *at = list; at != NULL && !found; at = at->ai_next) {
        found = connects(at);
    }
    freeaddrinfo(list);
    return found;
}

struct asked {
    char addresses[8 * SR_MEMBERS_MAX][256];
    size_t count;
};

/* One sentence if @address answers, once for each address. */
static size_t ask(struct asked *asked, const char *address, void (*say)(const char *text))
{
    char text[512];
    for (size_t i = 0; i < asked->count; i++) {
        if (strcmp(asked->addresses[i], address) == 0) {
            return 0;
        }
    }
    if (asked->count < sizeof(asked->addresses) / sizeof(asked->addresses[0])) {
        snprintf(asked->addresses[asked->count++], sizeof(asked->addresses[0]), "%s", address);
    }
    if (!answers(address)) {
        return 0;
    }
    snprintf(text, sizeof(text), "something answers at %s, the address of a member", address);
    say(text);
    return 1;
}

static size_t ask_record(struct asked *asked, const struct sr_survivor *survivor,
                         void (*say)(const char *text))
{
    Strongroom__ClusterRecord *record = NULL;
    size_t signs = 0;
    if (sr_store_cluster(survivor->store, &record, NULL) != SR_OK) {
        return 0;
    }
    for (size_t i = 0; i < record->n_members; i++) {
        signs += ask(asked, record->members[i]->peer_address, say);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    return signs;
}

size_t sr_recover_signs_of_life(const struct sr_config *config, const struct sr_survivor *survivors,
                                size_t count, void (*say)(const char *text))
{
    struct asked asked = {.count = 0};
    uint64_t now_ms = sr_clock_wall_ms();
    char text[PATH_MAX + 128];
    size_t signs = 0;
    for (size_t i = 0; i < count; i++) {
        if (survivors[i].changed_ms + CHANGED_MS > now_ms) {
            snprintf(text, sizeof(text), "%s: a file was changed in the last minute",
                     survivors[i].dir);
            say(text);
            signs++;
        }
        signs += ask_record(&asked, &survivors[i], say);
    }
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        signs += ask(&asked, config->cluster.members[i].peer_address, say);
    }
    return signs;
}
