/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/clients.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"
#include "tests/simulation/request.h"
#include "tests/simulation/world.h"

#define NETWORK_NS (2 * WORLD_MS)

static size_t at_of(const struct world *world, const struct client *client)
{
    return (size_t)(client - world->clients.list);
}

static struct op *op_of(struct world *world, const struct client *client)
{
    return history_op(&world->history, client->op);
}

static void set(struct client *client, enum client_state state, uint64_t at_ns)
{
    client->state = state;
    client->at_ns = at_ns;
}

void clients_init(struct world *world)
{
    struct clients *clients = &world->clients;
    *clients = (struct clients){0};
    clients->count = 2 + world_random(world, CLIENTS_MAX - 1);
    clients->think_ns = world_skewed(world, WORLD_MS, 200 * WORLD_MS);
    clients->value_bytes = (size_t)world_skewed(world, 1, 3000);
    for (size_t i = 0; i < clients->count; i++) {
        clients->list[i].member = world_random(world, world->count);
        clients->list[i].at_ns = world->now_ns + world_random(world, 500 * WORLD_MS);
    }
}

static void drop_answer(struct client *client)
{
    sr_buf_close(&client->outcome.body);
    sr_view_close(client->view);
    client->view = NULL;
}

void clients_close(struct world *world)
{
    for (size_t i = 0; i < world->clients.count; i++) {
        drop_answer(&world->clients.list[i]);
    }
}

/* ---- the end of an operation ---- */

static void finish(struct world *world, struct client *client, enum op_state state)
{
    struct clients *clients = &world->clients;
    struct op *op = op_of(world, client);
    op->state = state;
    if (state != OP_UNKNOWN) {
        op->returned_ns = world->now_ns;
    }
    clients->done += state == OP_DONE;
    clients->reads += state == OP_DONE && op->kind >= OP_READ;
    clients->unknown += state == OP_UNKNOWN;
    world_trace(world, "client %zu: operation %llu ends as %d at revision %lld",
                at_of(world, client), (unsigned long long)op->number, (int)state,
                (long long)op->revision);
    drop_answer(client);
    set(client, CLIENT_IDLE, world->now_ns + world_random(world, 2 * clients->think_ns));
}

static void go_elsewhere(struct world *world, struct client *client)
{
    client->member = (client->member + 1 + world_random(world, world->count - 1)) % world->count;
}

static void try_again(struct world *world, struct client *client)
{
    drop_answer(client);
    if (world_chance(world, 2)) {
        go_elsewhere(world, client);
    }
    set(client, CLIENT_AGAIN, world->now_ns + world_random(world, 200 * WORLD_MS));
}

/* It did not happen, and will not. */
static void refused(struct world *world, struct client *client, bool attempted)
{
    struct op *op = op_of(world, client);
    if (attempted && op->kind < OP_READ) {
        check_refused(world, client->sequence);
    }
    if (client->with_id || world_chance(world, 2)) {
        try_again(world, client);
    } else {
        finish(world, client, OP_NEVER);
    }
}

/* The connection broke, or nothing came. */
static void lost(struct world *world, struct client *client)
{
    struct op *op = op_of(world, client);
    if (op->kind < OP_READ) {
        world->history.attempts[client->sequence].state = OP_UNKNOWN;
    }
    if (client->with_id) {
        try_again(world, client);
    } else {
        finish(world, client, op->kind < OP_READ ? OP_UNKNOWN : OP_NEVER);
        go_elsewhere(world, client);
    }
}

/* ---- the beginning ---- */

static enum op_kind draw_kind(struct world *world)
{
    static const enum op_kind kinds[] = {
        OP_PUT,  OP_PUT,  OP_PUT,  OP_PUT,   OP_DELETE, OP_CAS,    OP_CAS,
        OP_CAS,  OP_PAIR, OP_PAIR, OP_COUNT, OP_COUNT,  OP_COUNT,  OP_READ,
        OP_READ, OP_READ, OP_READ, OP_READ,  OP_SERIAL, OP_SERIAL,
    };
    if (world_chance(world, 60)) {
        return OP_COMPACT;
    }
    return kinds[world_random(world, sizeof(kinds) / sizeof(kinds[0]))];
}

static size_t draw_key(struct world *world, enum op_kind kind)
{
    switch (kind) {
    case OP_PAIR:
        return HISTORY_PAIR;
    case OP_COUNT:
        return HISTORY_REGISTERS + world_random(world, HISTORY_COUNTERS);
    case OP_READ:
    case OP_SERIAL:
        return world_random(world, HISTORY_PAIR + 1);
    default:
        return world_random(world, HISTORY_REGISTERS);
    }
}

static void begin(struct world *world, struct client *client, enum op_kind kind)
{
    struct op *op = history_add(&world->history, kind);
    client->op = op->number;
    op->key = draw_key(world, op->kind);
    op->client = at_of(world, client);
    op->invoked_ns = world->now_ns;
    op->expected = op->kind == OP_CAS ? client->seen[op->key] : 0;
    client->with_id = op->kind == OP_COUNT || (op->kind < OP_READ && world_chance(world, 3));
    client->at_revision = 0;
    if (op->kind == OP_SERIAL && client->revision_seen > 1 && world_chance(world, 2)) {
        uint64_t back = world_random(world, 50);
        client->at_revision = client->revision_seen - (int64_t)back;
        client->at_revision = client->at_revision < 1 ? 1 : client->at_revision;
    }
    world_trace(world, "client %zu: operation %llu of kind %d on %s", op->client,
                (unsigned long long)op->number, (int)op->kind, history_key(op->key));
    if (world_chance(world, 20)) {
        go_elsewhere(world, client);
    }
    set(client, CLIENT_AGAIN, world->now_ns);
}

static void propose(struct world *world, struct client *client, struct member *member)
{
    struct request_source source = {.origin = member->origin,
                                    .sequence = client->sequence,
                                    .with_id = client->with_id,
                                    .value_bytes = world_random(world, world->clients.value_bytes)};
    int64_t back = (int64_t)world_random(world, 30);
    source.revision = client->revision_seen > back ? client->revision_seen - back : 1;
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = member->origin;
    proposal->sequence = client->sequence;
    request_pack(op_of(world, client), &source, &proposal->command);
    member_propose(member, proposal);
}

static void read_linearizable(struct client *client, struct member *member)
{
    struct sr_read *read = sr_zalloc(sizeof(*read));
    read->origin = member->origin;
    read->sequence = client->sequence;
    member_read(member, read);
}

static void send_request(struct world *world, struct client *client, struct member *member)
{
    const struct op *op = op_of(world, client);
    struct sr_err err;
    client->sequence = history_attempt(&world->history, op->number, member->origin);
    set(client, CLIENT_WAITS,
        world->now_ns + 2000 * WORLD_MS + world_random(world, 6000 * WORLD_MS));
    if (op->kind == OP_SERIAL) {
        sr_check(sr_view_open(member->store, &client->view, &err) == SR_OK);
        set(client, CLIENT_SERVE, world->now_ns + world_random(world, 50 * WORLD_MS));
    } else if (op->kind == OP_READ) {
        read_linearizable(client, member);
    } else {
        propose(world, client, member);
    }
}

static void attempt(struct world *world, struct client *client)
{
    struct member *member = &world->members[client->member];
    if (member->alive && member->paused && !world_chance(world, 4)) {
        set(client, CLIENT_QUEUES, world->now_ns + 5000 * WORLD_MS);
    } else if (!member->alive || member->paused || member->failed || member->disk.cut_came) {
        go_elsewhere(world, client);
        refused(world, client, false);
    } else {
        send_request(world, client, member);
    }
}

/* ---- answers ---- */

static struct client *who_waits(struct world *world, uint64_t sequence)
{
    for (size_t i = 0; i < world->clients.count; i++) {
        struct client *client = &world->clients.list[i];
        if (client->state == CLIENT_WAITS && client->sequence == sequence) {
            return client;
        }
    }
    return NULL;
}

static void answer(struct world *world, struct client *client, enum sr_api_error error)
{
    client->error = error;
    set(client, CLIENT_ANSWER, world->now_ns + world_random(world, NETWORK_NS));
}

void clients_answered(struct member *member, uint64_t sequence, enum sr_api_error error,
                      uint64_t index)
{
    struct world *world = member->world;
    struct client *client = who_waits(world, sequence);
    if (client == NULL) {
        return;
    }
    world_trace(world, "client %zu: answer %d, index %llu", at_of(world, client), (int)error,
                (unsigned long long)index);
    if (error != SR_API_NONE) {
        answer(world, client, error);
        return;
    }
    sr_check(op_of(world, client)->kind == OP_READ);
    if (sr_store_applied_index(member->store) < index) {
        world_violate(world, "member %zu lets a read at %llu through, but has applied %llu",
                      member->at + 1, (unsigned long long)index,
                      (unsigned long long)sr_store_applied_index(member->store));
    }
    set(client, CLIENT_SERVE, world->now_ns + world_random(world, WORLD_MS));
}

void clients_outcome(struct member *member, struct sr_outcome *outcome)
{
    struct client *client = who_waits(member->world, outcome->sequence);
    if (client == NULL) {
        return;
    }
    client->outcome = *outcome;
    outcome->body = (struct sr_buf){0};
    answer(member->world, client, SR_API_NONE);
}

static void answer_batch_early(struct member *member, const struct raft_entry *entry)
{
    struct sr_batch_reader batch;
    struct sr_bytes packed;
    struct sr_err err;
    sr_check(sr_batch_open(&batch, entry->buf.base, entry->buf.len, &err) == SR_OK);
    while (sr_batch_next(&batch, &packed)) {
        Strongroom__Command *command = strongroom__command__unpack(NULL, packed.size, packed.data);
        struct client *client = who_waits(member->world, command->sequence);
        if (client != NULL && command->origin == member->origin &&
            command->operation_case == STRONGROOM__COMMAND__OPERATION_PUT) {
            client->outcome = (struct sr_outcome){0};
            answer(member->world, client, SR_API_NONE);
        }
        strongroom__command__free_unpacked(command, NULL);
    }
}

void clients_answer_early(struct member *member, const struct sr_core_op *op)
{
    for (unsigned i = 0; op->kind == SR_CORE_APPEND && i < op->count; i++) {
        if (op->entries[i].type == RAFT_COMMAND) {
            answer_batch_early(member, &op->entries[i]);
        }
    }
}

/* What the state said. */
static void took_effect(struct world *world, struct client *client)
{
    struct op *op = op_of(world, client);
    const struct sr_outcome *outcome = &client->outcome;
    op->revision = outcome->revision;
    if (outcome->error != SR_API_NONE) {
        if (op->kind != OP_COMPACT) {
            world_violate(world, "operation %llu is answered with error %d",
                          (unsigned long long)op->number, (int)outcome->error);
        }
    } else if (!request_unpack(op, (struct sr_bytes){outcome->body.data, outcome->body.size})) {
        world_violate(world, "operation %llu is answered as another kind of operation would be",
                      (unsigned long long)op->number);
    }
    if (op->revision > client->revision_seen) {
        client->revision_seen = op->revision;
    }
    if (op->kind == OP_CAS || op->kind == OP_PUT) {
        client->seen[op->key] = op->wrote ? op->revision : op->found.mod_revision;
    }
    finish(world, client, OP_DONE);
}

static void arrives(struct world *world, struct client *client)
{
    switch (client->error) {
    case SR_API_NONE:
        took_effect(world, client);
        break;
    case SR_API_NO_LEADER:
    case SR_API_TOO_MANY_REQUESTS:
    case SR_API_STOPPED:
    case SR_API_NO_SPACE:
        refused(world, client, true);
        break;
    case SR_API_TIMED_OUT:
    case SR_API_TIMED_OUT_LEADER:
        lost(world, client);
        break;
    default:
        world_violate(world, "operation %llu is refused with %d", (unsigned long long)client->op,
                      (int)client->error);
        break;
    }
}

/* ---- members come and go ---- */

void clients_member_gone(struct world *world, struct member *member)
{
    for (size_t i = 0; i < world->clients.count; i++) {
        struct client *client = &world->clients.list[i];
        if (client->member != member->at || client->state == CLIENT_IDLE ||
            client->state == CLIENT_AGAIN) {
            continue;
        }
        if (client->state == CLIENT_ANSWER && world_chance(world, 2)) {
            continue; /* it is on its way already */
        }
        if (client->state == CLIENT_QUEUES) {
            try_again(world, client);
        } else {
            lost(world, client);
        }
    }
}

void clients_member_resumed(struct world *world, struct member *member)
{
    for (size_t i = 0; i < world->clients.count; i++) {
        struct client *client = &world->clients.list[i];
        /* Of all moments the best to ask one that does not know yet what it slept through. */
        if (client->state == CLIENT_IDLE && !world->clients.leaving && world_chance(world, 2)) {
            begin(world, client, OP_READ);
            client->member = member->at;
            attempt(world, client);
        } else if (client->state == CLIENT_QUEUES && client->member == member->at) {
            attempt(world, client);
        }
    }
}

/* ---- time ---- */

uint64_t clients_next(const struct world *world)
{
    uint64_t next = WORLD_NEVER;
    for (size_t i = 0; i < world->clients.count; i++) {
        const struct client *client = &world->clients.list[i];
        bool rests = client->state == CLIENT_IDLE && world->clients.leaving;
        bool frozen = client->state == CLIENT_SERVE && world->members[client->member].paused;
        if (!rests && !frozen) {
            world_earlier(&next, client->at_ns);
        }
    }
    return next;
}

static void act(struct world *world, struct client *client)
{
    switch (client->state) {
    case CLIENT_IDLE:
        if (!world->clients.leaving) {
            begin(world, client, draw_kind(world));
        }
        break;
    case CLIENT_AGAIN:
        attempt(world, client);
        break;
    case CLIENT_QUEUES:
        try_again(world, client);
        break;
    case CLIENT_WAITS:
        lost(world, client);
        break;
    case CLIENT_ANSWER:
        arrives(world, client);
        break;
    case CLIENT_SERVE:
        if (!world->members[client->member].paused) {
            finish(world, client, clients_serve(world, client) ? OP_DONE : OP_NEVER);
        }
        break;
    }
}

void clients_step(struct world *world)
{
    for (size_t i = 0; i < world->clients.count; i++) {
        struct client *client = &world->clients.list[i];
        if (client->at_ns <= world->now_ns) {
            act(world, client);
        }
    }
}

bool clients_rest(const struct world *world)
{
    bool rest = world->clients.leaving;
    for (size_t i = 0; i < world->clients.count; i++) {
        rest = rest && world->clients.list[i].state == CLIENT_IDLE;
    }
    return rest;
}
