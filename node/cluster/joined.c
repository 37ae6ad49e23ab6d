/* SPDX-License-Identifier: Apache-2.0
 *
 * The packed JoinReply, and SHA-256 over it.
 */
#include "node/cluster/joined.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "proto/member.h"

#define HASH_BYTES     ((size_t)32)
#define FILE_BYTES_MAX ((size_t)256 * 1024)

static const Strongroom__MemberRecord *find(const Strongroom__JoinReply *joined, uint64_t id)
{
    for (size_t i = 0; i < joined->record->n_members; i++) {
        if (joined->record->members[i]->id == id) {
            return joined->record->members[i];
        }
    }
    return NULL;
}

int sr_joined_check(const Strongroom__JoinReply *joined, struct sr_err *err)
{
    if (joined == NULL || joined->cluster_id == 0 || joined->member_id == 0 ||
        joined->record == NULL || joined->record->n_members > SR_MEMBERS_MAX ||
        find(joined, joined->member_id) == NULL) {
        return sr_err_set(err, SR_INVALID, "an answer without an identity");
    }
    for (size_t i = 0; i < joined->record->n_members; i++) {
        const Strongroom__MemberRecord *member = joined->record->members[i];
        if (!sr_is_member(member, member->id != joined->member_id)) {
            return sr_err_set(err, SR_INVALID,
                              "an answer in which the member %016" PRIx64 " is malformed",
                              member->id);
        }
    }
    return SR_OK;
}

/* ---- The file ---- */

static int path_of(const char *dir, const char *name, char *out, struct sr_err *err)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX
               ? SR_OK
               : sr_err_set(err, SR_INVALID, "data_dir: path is too long");
}

static void hash(const uint8_t *data, size_t size, uint8_t out[HASH_BYTES])
{
    sr_check(EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL) == 1);
}

static int parse(const char *path, const struct sr_buf *text, Strongroom__JoinReply **ret,
                 struct sr_err *err)
{
    uint8_t digest[HASH_BYTES];
    size_t size = text->size - HASH_BYTES;
    if (text->size <= HASH_BYTES || text->size > FILE_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "%s is cut or damaged", path);
    }
    hash(text->data, size, digest);
    Strongroom__JoinReply *joined = NULL;
    if (memcmp(digest, text->data + size, HASH_BYTES) == 0) {
        joined = strongroom__join_reply__unpack(NULL, size, text->data);
    }
    if (sr_joined_check(joined, NULL) != SR_OK) {
        strongroom__join_reply__free_unpacked(joined, NULL);
        return sr_err_set(err, SR_CORRUPT, "%s is cut or damaged", path);
    }
    *ret = joined;
    return SR_OK;
}

int sr_joined_read(const char *dir, Strongroom__JoinReply **ret, struct sr_err *err)
{
    char path[PATH_MAX];
    if (path_of(dir, "joined", path, err) != SR_OK) {
        return SR_INVALID;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? SR_NOT_FOUND : sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    struct sr_buf text = {0};
    ssize_t got = read(fd, sr_buf_extend(&text, FILE_BYTES_MAX + 1), FILE_BYTES_MAX + 1);
    int failed = errno;
    close(fd);
    int status = SR_OK;
    if (got < 0) {
        status = sr_err_errno(err, SR_IO, failed, "read %s", path);
    } else {
        text.size = (size_t)got;
        status = parse(path, &text, ret, err);
    }
    sr_buf_close(&text);
    return status;
}

static int sync_dir(const char *dir, struct sr_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "sync %s", dir);
}

static int write_file(const char *path, const struct sr_buf *text, struct sr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "create %s", path);
    }
    ssize_t written = write(fd, text->data, text->size);
    int failed = written < 0 ? errno : (size_t)written != text->size ? ENOSPC : 0;
    if (failed == 0 && fsync(fd) != 0) {
        failed = errno;
    }
    close(fd);
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "write %s", path);
}

int sr_joined_write(const char *dir, const Strongroom__JoinReply *joined, struct sr_err *err)
{
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    if (path_of(dir, "joined", path, err) != SR_OK ||
        path_of(dir, "joined.new", fresh, err) != SR_OK) {
        return SR_INVALID;
    }
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return sr_err_errno(err, SR_IO, errno, "create directory %s", dir);
    }
    struct sr_buf text = {0};
    size_t size = strongroom__join_reply__get_packed_size(joined);
    strongroom__join_reply__pack(joined, sr_buf_extend(&text, size));
    uint8_t digest[HASH_BYTES];
    hash(text.data, size, digest);
    sr_buf_append(&text, digest, HASH_BYTES);
    int status = write_file(fresh, &text, err);
    sr_buf_close(&text);
    if (status != SR_OK) {
        return status;
    }
    if (rename(fresh, path) != 0) {
        return sr_err_errno(err, SR_IO, errno, "rename %s", fresh);
    }
    return sync_dir(dir, err);
}

/* ---- Into the configuration ---- */

static void copy_member(struct sr_config_member *to, const Strongroom__MemberRecord *from)
{
    to->id = from->id;
    to->name = sr_strdup(from->name);
    to->zone = sr_strdup(from->zone);
    to->peer_address = sr_strdup(from->peer_address);
    to->client_urls_count = (unsigned)from->n_client_urls;
    to->client_urls = sr_calloc(from->n_client_urls + 1, sizeof(char *));
    for (size_t i = 0; i < from->n_client_urls; i++) {
        to->client_urls[i] = sr_strdup(from->client_urls[i]);
    }
}

int sr_joined_take(struct sr_config *config, const Strongroom__JoinReply *joined,
                   struct sr_err *err)
{
    const struct sr_config_member *own = sr_config_self(config);
    if (strcmp(find(joined, joined->member_id)->name, config->name) != 0) {
        return sr_err_set(err, SR_REFUSED,
                          "data_dir %s has joined its cluster as member \"%.64s\", not as \"%s\"",
                          config->data_dir, find(joined, joined->member_id)->name, config->name);
    }
    size_t count = joined->record->n_members;
    struct sr_config_member *members = sr_calloc(count, sizeof(*members));
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const Strongroom__MemberRecord *from = joined->record->members[i];
        if (from->id != joined->member_id) {
            copy_member(&members[++kept], from);
        }
    }
    members[0] = *own; /* what it says of itself: its addresses may have changed since */
    members[0].id = joined->member_id;
    sr_config_set_members(config, members, (unsigned)(kept + 1));
    config->cluster.id = joined->cluster_id;
    config->cluster.joined = true;
    return SR_OK;
}
