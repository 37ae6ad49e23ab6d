/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom rebuild: a node whose disk is lost or cannot be trusted becomes a new member under
 * its old name, in its old zone, at its old addresses. Its old id is gone for good, and with it
 * the votes and acknowledgements that its disk may have forgotten.
 *
 *   refuse while a strongroomd runs on the directory, or the others still see the member
 *   ──► remove the old id ──► add a new one ──► move the directory aside ──► leave the token
 *
 * Stopped anywhere, it can be run again: whoever has the name then is removed and added anew, and
 * a directory that is not there needs no moving.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/members.h"
#include "client/newfile.h"
#include "node/config/config.h"

#define JOIN_BYTES_MAX 8192

struct rebuild {
    struct sr_remote remote;
    struct sr_config *config;
    const struct sr_config_member *self;
    const char *config_path;
    bool force;
    char endpoints[8192]; /* the others' client URLs, when nobody gave endpoints */
    struct sr_err err;
};

static void print_help(void)
{
    puts(
        "usage: strongroom rebuild --config FILE [--force] [OPTION]...\n"
        "\n"
        "Makes this machine's node anew from its peers, when its disk was lost or its data is\n"
        "damaged: through the other nodes removes the member that it was, adds a new one with the\n"
        "same name, zone and addresses, moves the old data directory aside, and leaves what the\n"
        "next start of strongroomd needs to join. The node must be stopped.\n"
        "\n"
        "  --config FILE        the node's configuration. Endpoints, authority, certificate and "
        "key\n"
        "                       are taken from it where nothing else says them\n"
        "  --force              even if the others could lose a zone less; it is "
        "logged\n" REMOTE_HELP);
}

/* ---- The data directory ---- */

static bool is_there(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* A node that runs holds the lock. Taken for a moment only: nothing starts it meanwhile but its
 * operator, who is here. */
static int check_stopped(struct rebuild *rebuild)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", rebuild->config->data_dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? SR_OK : sr_err_errno(&rebuild->err, SR_IO, errno, "%s", path);
    }
    int failed = flock(fd, LOCK_EX | LOCK_NB) != 0;
    close(fd);
    return failed ? sr_err_set(&rebuild->err, SR_REFUSED,
                               "%s: strongroomd still runs on it: stop it first",
                               rebuild->config->data_dir)
                  : SR_OK;
}

static bool is_mounted(const char *dir)
{
    char parent[PATH_MAX];
    struct stat own;
    struct stat above;
    snprintf(parent, sizeof(parent), "%s/..", dir);
    return stat(dir, &own) == 0 && stat(parent, &above) == 0 && own.st_dev != above.st_dev;
}

/* But for what a file system has of its own. */
static bool is_empty(const char *dir)
{
    DIR *stream = opendir(dir);
    bool empty = stream != NULL;
    for (const struct dirent *entry = empty ? readdir(stream) : NULL; entry != NULL && empty;
         entry = readdir(stream)) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, "lost+found") == 0;
    }
    if (stream != NULL) {
        closedir(stream);
    }
    return empty;
}

/* Before anything is changed: a disk that is mounted there cannot be renamed. */
static int check_movable(struct rebuild *rebuild)
{
    const char *dir = rebuild->config->data_dir;
    return is_mounted(dir) && !is_empty(dir)
               ? sr_err_set(&rebuild->err, SR_REFUSED,
                            "data_dir %s is a mounted disk, which cannot be moved aside: move what "
                            "is on it elsewhere first",
                            dir)
               : SR_OK;
}

static int move_aside(struct rebuild *rebuild)
{
    const char *dir = rebuild->config->data_dir;
    char aside[PATH_MAX];
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    if (!is_there(dir) || is_mounted(dir)) {
        return SR_OK;
    }
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
    snprintf(aside, sizeof(aside), "%s.%s", dir, stamp);
    if (is_there(aside)) {
        return sr_err_set(&rebuild->err, SR_EXISTS, "%s: exists already", aside);
    }
    if (rename(dir, aside) != 0) {
        return sr_err_errno(&rebuild->err, SR_IO, errno, "%s: cannot be moved aside", dir);
    }
    printf("moved    %s to %s\n", dir, aside);
    return SR_OK;
}

static int leave(struct rebuild *rebuild, const char *name, const char *text, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", rebuild->config->data_dir, name);
    return sr_newfile_write(path, 0600, text, size, &rebuild->err);
}

/* How the node finds its place (node/cluster/rejoin.h): the token, and then whom to ask. */
static int leave_token(struct rebuild *rebuild, const Members *members, uint64_t old_id,
                       const char *token)
{
    char peers[JOIN_BYTES_MAX];
    size_t used = 0;
    const char *dir = rebuild->config->data_dir;
    for (size_t i = 0; i < members->n_members && used < sizeof(peers); i++) {
        const Member *member = members->members[i];
        if (member->id != old_id && member->started) {
            used +=
                (size_t)snprintf(peers + used, sizeof(peers) - used, "%s\n", member->peer_address);
        }
    }
    if (used >= sizeof(peers)) {
        return sr_err_set(&rebuild->err, SR_LIMIT, "too many members");
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return sr_err_errno(&rebuild->err, SR_IO, errno, "%s", dir);
    }
    int status = leave(rebuild, "join-token", token, strlen(token));
    return status == SR_OK ? leave(rebuild, "join-peers", peers, used) : status;
}

/* ---- The cluster ---- */

/* As the others see it: it neither runs nor is it somebody else's. */
static int check_member(struct rebuild *rebuild, const Members *members, const Member *old)
{
    if (members->has_progress && old->up && !rebuild->force) {
        return sr_err_set(&rebuild->err, SR_REFUSED,
                          "%s: the leader still talks to %s (%" PRIx64 "): it runs, perhaps on "
                          "another machine; stop it first",
                          rebuild->remote.answered, old->name, old->id);
    }
    return SR_OK;
}

static int remove_old(struct rebuild *rebuild, const Member *old)
{
    Strongroom__V1__MemberRemoveRequest request = STRONGROOM__V1__MEMBER_REMOVE_REQUEST__INIT;
    request.id = old->id;
    request.force = rebuild->force;
    if (sr_remote_call(&rebuild->remote, "MemberRemove", REMOTE_CHANGE, &request.base,
                       &strongroom__v1__member_remove_response__descriptor, NULL,
                       &rebuild->err) == NULL) {
        return sr_err_prefix(&rebuild->err, "remove the old member");
    }
    printf("removed  %s (%" PRIx64 ")\n", old->name, old->id);
    return SR_OK;
}

/* Where the old member was by the record; where it is by the file, when the record has none. */
static const Strongroom__V1__MemberAddResponse *add_new(struct rebuild *rebuild, const Member *old)
{
    const struct sr_config_member *self = rebuild->self;
    Strongroom__V1__MemberAddRequest request = STRONGROOM__V1__MEMBER_ADD_REQUEST__INIT;
    request.name = self->name;
    request.zone = old == NULL ? self->zone : old->zone;
    request.peer_address = old == NULL ? self->peer_address : old->peer_address;
    request.client_urls = self->client_urls;
    request.n_client_urls = self->client_urls_count;
    request.learner = old != NULL && old->wanted == STRONGROOM__V1__ROLE__LEARNER;
    request.force = rebuild->force;
    const Strongroom__V1__MemberAddResponse *response =
        (const Strongroom__V1__MemberAddResponse *)sr_remote_call(
            &rebuild->remote, "MemberAdd", REMOTE_CHANGE, &request.base,
            &strongroom__v1__member_add_response__descriptor, NULL, &rebuild->err);
    if (response != NULL && response->member == NULL) {
        sr_err_set(&rebuild->err, SR_INVALID, "%s: an answer without the member",
                   rebuild->remote.answered);
    }
    if (response == NULL || response->member == NULL) {
        sr_err_prefix(&rebuild->err, "add the new member");
        return NULL;
    }
    printf("added    %s (%" PRIx64 "), zone %s, %s\n", response->member->name, response->member->id,
           response->member->zone, response->member->peer_address);
    return response;
}

static int run(struct rebuild *rebuild)
{
    int status = check_stopped(rebuild);
    if (status == SR_OK) {
        status = check_movable(rebuild);
    }
    if (status != SR_OK) {
        return status;
    }
    const Members *members = members_fetch(&rebuild->remote, &rebuild->err);
    if (members == NULL) {
        return SR_REFUSED;
    }
    const Member *old = members_find(members, rebuild->self->name);
    if (old != NULL && ((status = check_member(rebuild, members, old)) != SR_OK ||
                        (status = remove_old(rebuild, old)) != SR_OK)) {
        return status;
    }
    const Strongroom__V1__MemberAddResponse *response = add_new(rebuild, old);
    if (response == NULL) {
        return SR_REFUSED;
    }
    if ((status = move_aside(rebuild)) != SR_OK) {
        return status;
    }
    return leave_token(rebuild, members, old == NULL ? 0 : old->id, response->token);
}

/* ---- The command ---- */

/* What no option and no variable says, the node's own configuration does. */
static void fill_in(struct rebuild *rebuild)
{
    struct sr_remote *remote = &rebuild->remote;
    const struct sr_config *config = rebuild->config;
    size_t used = 0;
    if (getenv("STRONGROOM_CACERT") == NULL && remote->ca == NULL) {
        remote->ca = config->client.tls.ca;
    }
    if (getenv("STRONGROOM_CERT") == NULL && getenv("STRONGROOM_KEY") == NULL &&
        remote->certificate == NULL && remote->private_key == NULL) {
        remote->certificate = config->client.tls.certificate;
        remote->private_key = config->client.tls.private_key;
    }
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        const struct sr_config_member *member = &config->cluster.members[i];
        for (unsigned j = 0; member != rebuild->self && j < member->client_urls_count; j++) {
            if (used < sizeof(rebuild->endpoints)) {
                used +=
                    (size_t)snprintf(rebuild->endpoints + used, sizeof(rebuild->endpoints) - used,
                                     "%s%s", used == 0 ? "" : ",", member->client_urls[j]);
            }
        }
    }
    if (getenv("STRONGROOM_ENDPOINTS") == NULL && remote->endpoints_text == NULL && used > 0) {
        remote->endpoints_text = rebuild->endpoints;
    }
}

/* -1: help was printed. */
static int parse(int argc, char **argv, struct rebuild *rebuild)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            REMOTE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        int code = sr_remote_option(&rebuild->remote, option, optarg);
        if (option == 'h') {
            print_help();
            return -1;
        }
        rebuild->config_path = option == 'c' ? optarg : rebuild->config_path;
        rebuild->force = rebuild->force || option == 'f';
        if (option == '?' || code > EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (optind < argc || rebuild->config_path == NULL) {
        fprintf(stderr, "strongroom rebuild: --config FILE, and nothing else; --help has more\n");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int command_rebuild(int argc, char **argv)
{
    static struct rebuild rebuild; /* large */
    int code = parse(argc, argv, &rebuild);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    if (sr_config_load(rebuild.config_path, &rebuild.config, &rebuild.err) != SR_OK) {
        fprintf(stderr, "strongroom rebuild: %s\n", rebuild.err.text);
        return EXIT_USAGE;
    }
    rebuild.self = sr_config_self(rebuild.config);
    fill_in(&rebuild);
    code = sr_remote_open(&rebuild.remote, "strongroom rebuild");
    if (code == EXIT_DONE && run(&rebuild) != SR_OK) {
        fprintf(stderr, "strongroom rebuild: %s\n", rebuild.err.text);
        code = EXIT_FAILED;
    }
    if (code == EXIT_DONE) {
        printf("start strongroomd now: it fetches everything from the others, and votes once it "
               "has caught up\n");
    }
    sr_remote_close(&rebuild.remote);
    sr_config_free(rebuild.config);
    return code;
}
