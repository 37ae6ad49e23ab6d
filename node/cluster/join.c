/* SPDX-License-Identifier: Apache-2.0
 *
 * The node that wants to come in. DIR/joined is the packed JoinReply, and SHA-256 over it.
 */
#include "node/cluster/join.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "node/cluster/joined.h"
#include "node/cluster/rejoin.h"
#include "node/peer/bulk.h"

#define TOKEN_BYTES_MAX 256
#define PAUSE_S         1
#define REFUSALS_MAX    6 /* in a row */

static const atomic_bool never; /* a signal ends the process while there is nothing to lose */

/* ---- The token ---- */

static void trim(struct sr_buf *token)
{
    while (token->size > 0 &&
           (token->data[token->size - 1] == '\n' || token->data[token->size - 1] == '\r')) {
        token->size--;
    }
}

static int read_token(const char *path, struct sr_buf *ret_token, struct sr_err *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, SR_NOT_FOUND, errno, "token_file %s", path);
    }
    uint8_t *room = sr_buf_extend(ret_token, TOKEN_BYTES_MAX);
    ssize_t got = fstat(fd, &info) == 0 ? read(fd, room, TOKEN_BYTES_MAX) : -1;
    int failed = errno;
    close(fd);
    if (got < 0) {
        return sr_err_errno(err, SR_IO, failed, "read token_file %s", path);
    }
    if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        return sr_err_set(err, SR_KEY,
                          "token_file %s: mode %04o lets others at it; run: "
                          "chmod 0600 %s",
                          path, (unsigned)info.st_mode & 07777u, path);
    }
    ret_token->size = (size_t)got;
    trim(ret_token);
    return ret_token->size > 0 ? SR_OK : sr_err_set(err, SR_KEY, "token_file %s is empty", path);
}

/* ---- Asking ---- */

static int exchange(struct sr_bulk *bulk, const struct sr_config *config,
                    const struct sr_buf *token, Strongroom__JoinReply **ret, struct sr_err *err)
{
    const struct sr_config_member *self = sr_config_self(config);
    Strongroom__JoinRequest request = STRONGROOM__JOIN_REQUEST__INIT;
    struct sr_frame frame;
    request.name = self->name;
    request.zone = self->zone;
    request.peer_address = self->peer_address;
    request.client_urls = self->client_urls;
    request.n_client_urls = self->client_urls_count;
    request.token = (ProtobufCBinaryData){token->size, token->data};
    request.feature_level = config->cluster.feature_level;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_JOIN_REQUEST;
    envelope.join_request = &request;
    int status = sr_bulk_send(bulk, &envelope, (struct sr_bytes){NULL, 0}, err);
    if (status == SR_OK) {
        status = sr_bulk_receive(bulk, &frame, err);
    }
    if (status != SR_OK) {
        return status;
    }
    if (frame.envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_JOIN_REPLY) {
        return sr_err_set(err, SR_INVALID, "a message of kind %d where an answer is expected",
                          (int)frame.envelope->message_case);
    }
    const Strongroom__JoinReply *reply = frame.envelope->join_reply;
    if (reply->refusal[0] != '\0') {
        return sr_err_set(err, reply->later ? SR_AGAIN : SR_REFUSED, "the member says: %.250s",
                          reply->refusal);
    }
    size_t size = strongroom__join_reply__get_packed_size(reply);
    uint8_t *packed = sr_alloc(size);
    strongroom__join_reply__pack(reply, packed);
    /* Out of the frame's memory. */
    Strongroom__JoinReply *joined = strongroom__join_reply__unpack(NULL, size, packed);
    sr_free(packed);
    status = sr_joined_check(joined, err);
    if (status != SR_OK) {
        strongroom__join_reply__free_unpacked(joined, NULL);
        return status;
    }
    *ret = joined;
    return SR_OK;
}

static int ask(const struct sr_config *config, const char *address, const struct sr_buf *token,
               Strongroom__JoinReply **ret, struct sr_err *err)
{
    const struct sr_tls_files tls = {.certificate = config->peer.tls.certificate,
                                     .private_key = config->peer.tls.private_key,
                                     .ca = config->peer.tls.ca};
    struct sr_bulk_options options = {.address = address,
                                      .purpose = STRONGROOM__HELLO__PURPOSE__JOIN,
                                      .feature_level = config->cluster.feature_level,
                                      .tls = &tls,
                                      .stop = &never};
    struct sr_bulk *bulk = NULL;
    int status = sr_bulk_connect(&options, &bulk, err);
    if (status == SR_OK) {
        status = exchange(bulk, config, token, ret, err);
    }
    sr_bulk_close(bulk);
    return status == SR_OK ? SR_OK : (sr_err_prefix(err, "ask %s", address), status);
}

/* Ask all until one lets us in, or all who can be reached refuse, round after round: who is behind
 * has not heard of a place yet that was made a moment ago. */
static int ask_all(const struct sr_config *config, const struct sr_buf *token,
                   Strongroom__JoinReply **ret, struct sr_err *err)
{
    const struct sr_config_join *join = config->cluster.join;
    char logged[SR_ERR_TEXT_MAX] = "";
    for (unsigned refusals = 0;;) {
        bool may_come = false;
        bool is_refused = false;
        struct sr_err refused = {0};
        for (unsigned i = 0; i < join->peers_count; i++) {
            int status = ask(config, join->peers[i], token, ret, err);
            if (status == SR_OK) {
                return SR_OK;
            }
            if (status == SR_REFUSED) {
                is_refused = true;
                refused = *err;
            }
            may_come = may_come || status == SR_AGAIN || status == SR_LIMIT;
            if (strcmp(logged, err->text) != 0) {
                memcpy(logged, err->text, sizeof(logged));
                sr_log(SR_LOG_WARN, "join", "not yet", "reason=\"%s\"", err->text);
            }
        }
        refusals = is_refused && !may_come ? refusals + 1 : 0;
        if (refusals == REFUSALS_MAX) {
            *err = refused;
            return SR_REFUSED;
        }
        const struct timespec pause = {.tv_sec = PAUSE_S};
        nanosleep(&pause, NULL);
    }
}

/* ---- All of it ---- */

static bool has_data(const struct sr_config *config)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/format", config->data_dir) < PATH_MAX &&
           access(path, F_OK) == 0;
}

static int join_now(struct sr_config *config, Strongroom__JoinReply **ret, struct sr_err *err)
{
    struct sr_buf token = {0};
    int status = SR_OK;
    if (config->cluster.join->token_file != NULL) {
        status = read_token(config->cluster.join->token_file, &token, err);
    }
    if (status == SR_OK) {
        status = ask_all(config, &token, ret, err);
    }
    if (status == SR_OK) {
        status = sr_joined_write(config->data_dir, *ret, err);
    }
    if (token.capacity > 0) {
        explicit_bzero(token.data, token.capacity);
    }
    sr_buf_close(&token);
    return status == SR_OK ? SR_OK : (sr_err_prefix(err, "join"), status);
}

int sr_join(struct sr_config *config, struct sr_err *err)
{
    Strongroom__JoinReply *joined = NULL;
    int status = sr_joined_read(config->data_dir, &joined, err);
    if (status == SR_NOT_FOUND && has_data(config)) {
        return SR_OK;
    }
    if (status == SR_NOT_FOUND) {
        int left = sr_rejoin_take(config, err);
        if (left != SR_OK || config->cluster.join == NULL) {
            return left;
        }
    }
    if (status == SR_NOT_FOUND) {
        status = join_now(config, &joined, err);
        if (status == SR_OK) {
            sr_log(SR_LOG_INFO, "join", "joined", "cluster=%016" PRIx64 " member=%016" PRIx64,
                   joined->cluster_id, joined->member_id);
        }
    }
    if (status == SR_OK) {
        sr_rejoin_forget(config);
        status = sr_joined_take(config, joined, err);
    }
    strongroom__join_reply__free_unpacked(joined, NULL);
    return status;
}
