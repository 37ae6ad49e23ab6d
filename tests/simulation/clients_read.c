/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads of clients, through views of the real store.
 */
#include <string.h>

#include "base/check.h"
#include "tests/simulation/request.h"
#include "tests/simulation/world.h"

bool clients_read_key(struct member *member, struct sr_view *view, size_t key, int64_t at_revision,
                      struct found *ret)
{
    char name[8];
    struct sr_buf body = {0};
    enum sr_api_error error = SR_API_NONE;
    struct sr_err err = {0};
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    memcpy(name, history_key(key), 3);
    request.key = (ProtobufCBinaryData){2, (uint8_t *)name};
    request.revision = at_revision;
    struct sr_range *range = sr_range_new(&request);
    int status = sr_range_step(range, view, 1000, &error, &err);
    if (status == SR_OK) {
        sr_range_pack(range, &body);
        Etcdserverpb__RangeResponse *response =
            etcdserverpb__range_response__unpack(NULL, body.size, body.data);
        sr_check(response != NULL && response->n_kvs <= 1);
        *ret = request_found(response->n_kvs == 0 ? NULL : response->kvs[0]);
        etcdserverpb__range_response__free_unpacked(response, NULL);
    } else if (error != SR_API_COMPACTED) {
        world_violate(member->world, "member %zu does not read: status %d, error %d, %.200s",
                      member->at + 1, status, (int)error, err.text);
    }
    sr_range_free(range);
    sr_buf_close(&body);
    return status == SR_OK;
}

static bool read_all(struct world *world, struct client *client, struct member *member)
{
    struct op *op = history_op(&world->history, client->op);
    int64_t at = client->at_revision;
    op->revision = at != 0 ? at : sr_view_revision(client->view);
    return clients_read_key(member, client->view, op->key, at, &op->found) &&
           (op->key != HISTORY_PAIR ||
            clients_read_key(member, client->view, HISTORY_PAIR + 1, at, &op->other));
}

bool clients_serve(struct world *world, struct client *client)
{
    struct member *member = &world->members[client->member];
    struct sr_err err;
    if (client->view == NULL) {
        sr_check(sr_view_open(member->store, &client->view, &err) == SR_OK);
    }
    if (client->at_revision > sr_view_revision(client->view)) {
        client->at_revision = 0; /* this member is behind what the client has seen elsewhere */
    }
    struct op *op = history_op(&world->history, client->op);
    if (!read_all(world, client, member)) {
        return false;
    }
    if (client->at_revision == 0) {
        client->seen[op->key] = op->found.mod_revision;
    }
    if (op->revision > client->revision_seen) {
        client->revision_seen = op->revision;
    }
    return true;
}
