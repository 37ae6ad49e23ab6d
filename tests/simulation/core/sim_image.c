/* SPDX-License-Identifier: Apache-2.0
 *
 * Images: a node that is told to take one gets, a while later, what the other has durably, as the
 * node's adoption at start leaves it: a manifest at the image's point, an empty log after it.
 */
#include "base/check.h"
#include "node/consensus/internal.h"
#include "sim.h"

void sim_image_needed(void *arg, uint64_t member)
{
    struct sim_node *node = arg;
    if (node->image_from == 0) {
        node->image_from = member;
        node->image_at_ns = node->sim->now_ns + 20000000 + sim_random(node->sim, 500000000);
        node->images_needed++;
    }
}

static void write_disk(struct sim_disk *disk, const struct sim_disk *from)
{
    struct sr_core_manifest manifest = {
        .index = from->state_index,
        .term = from->state.term,
        .configuration_index = from->state.configuration_index,
        .configuration = {from->state.configuration.data, from->state.configuration.size},
    };
    sim_disk_clear(disk, from->state_index + 1);
    sr_buf_clear(&disk->manifest);
    sr_core_manifest_pack(&manifest, &disk->manifest);
    disk->state_index = from->state_index;
    sim_state_copy(&disk->state, &from->state);
    disk->record = from->record;
    if (disk->term < from->state.term) {
        disk->term = from->state.term;
        disk->voted_for = 0;
    }
}

static void adopt(struct sim *sim, struct sim_node *node)
{
    const struct sim_node *from = &sim->nodes[node->image_from - 1];
    size_t at = (size_t)(node->id - 1);
    size_t other = (size_t)(from->id - 1);
    bool reachable = from->alive && !sim->links[at][other].cut && !sim->links[other][at].cut;
    node->image_from = 0;
    node->image_at_ns = UINT64_MAX;
    if (!reachable || from->disk.state_index <= node->applied) {
        return;
    }
    struct sr_err err;
    sim_crash(sim, at);
    write_disk(&node->disk, &from->disk);
    node->images_adopted++;
    if (sim_restart(sim, at, &err) != SR_OK) {
        sim_violate(sim, "start of node %zu from an image: %s", at + 1, err.text);
    }
}

void sim_image_step(struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->alive && node->image_from != 0 && node->image_at_ns <= sim->now_ns) {
            adopt(sim, node);
        }
    }
}
