/* SPDX-License-Identifier: Apache-2.0 */
#include "node/images.h"

#include "base/alloc.h"
#include "base/check.h"
#include "node/adopt.h"

struct sr_images {
    struct sr_images_options options;
    struct sr_tls_files tls;
    _Atomic(struct sr_consensus *) consensus;
    struct sr_image_sender *sender;
    _Atomic(struct sr_image_receiver *) receiver; /* NULL before there is consensus */
};

/* ---- What they need of the node ---- */

static void on_progress(void *arg, uint64_t member, uint64_t bytes, uint64_t total)
{
    struct sr_images *images = arg;
    struct sr_consensus *consensus = atomic_load(&images->consensus);
    if (consensus != NULL) {
        sr_consensus_image_progress(consensus, member, bytes, total);
    }
}

static int stage(void *arg, char ret_path[PATH_MAX], struct sr_err *err)
{
    const struct sr_images *images = arg;
    return sr_incoming_open(images->options.dir, ret_path, err);
}

static int complete(void *arg, struct sr_err *err)
{
    const struct sr_images *images = arg;
    return sr_incoming_complete(images->options.dir, err);
}

static int discard(void *arg, struct sr_err *err)
{
    const struct sr_images *images = arg;
    return sr_incoming_discard(images->options.dir, err);
}

static bool find(void *arg, uint64_t member, struct sr_image_source *ret_source)
{
    struct sr_images *images = arg;
    const struct sr_peers *peers = sr_consensus_peers(atomic_load(&images->consensus));
    return sr_peers_locate(peers, member, ret_source->name, ret_source->address);
}

static void on_complete(void *arg)
{
    const struct sr_images *images = arg;
    images->options.on_complete(images->options.arg);
}

static void on_failure(void *arg, const struct sr_err *err)
{
    const struct sr_images *images = arg;
    images->options.on_failure(images->options.arg, err);
}

/* ---- Start and stop ---- */

struct sr_images *sr_images_start(const struct sr_images_options *options)
{
    struct sr_images *images = sr_zalloc(sizeof(*images));
    const struct sr_config_tls *tls = &options->config->peer.tls;
    images->options = *options;
    images->tls = (struct sr_tls_files){
        .certificate = tls->certificate, .private_key = tls->private_key, .ca = tls->ca};
    struct sr_image_sender_options sender = {
        .store = options->store,
        .bytes_per_second = options->config->image.bytes_per_second,
        .on_progress = on_progress,
        .arg = images,
    };
    images->sender = sr_image_sender_start(&sender);
    return images;
}

void sr_images_set_consensus(struct sr_images *images, struct sr_consensus *consensus)
{
    const struct sr_config *config = images->options.config;
    const struct sr_datadir *dir = images->options.dir;
    struct sr_image_receiver_options receiver = {
        .cluster_id = dir->cluster_id,
        .member_id = dir->member_id,
        .keyring = dir->keyring,
        .store = images->options.store,
        .map_bytes = config->storage.map_bytes,
        .disk_reserve_bytes = config->storage.disk_reserve_bytes,
        .feature_level = images->options.feature_level,
        .tls = &images->tls,
        .stage = stage,
        .complete = complete,
        .discard = discard,
        .find = find,
        .on_complete = on_complete,
        .on_failure = on_failure,
        .arg = images,
    };
    atomic_store(&images->consensus, consensus);
    atomic_store(&images->receiver, sr_image_receiver_start(&receiver));
}

void sr_images_stop_fetching(struct sr_images *images)
{
    if (images != NULL) {
        sr_image_receiver_halt(atomic_load(&images->receiver));
    }
}

void sr_images_free(struct sr_images *images)
{
    if (images == NULL) {
        return;
    }
    sr_image_receiver_free(atomic_load(&images->receiver));
    sr_image_sender_stop(images->sender);
    sr_free(images);
}

/* ---- Use ---- */

void sr_images_serve(struct sr_images *images, struct sr_bulk *bulk, uint64_t member)
{
    sr_image_sender_serve(images->sender, bulk, member);
}

void sr_images_want(struct sr_images *images, uint64_t member)
{
    struct sr_image_receiver *receiver = atomic_load(&images->receiver);
    if (receiver != NULL) {
        sr_image_receiver_want(receiver, member);
    }
}

const struct sr_image_sender_metrics *sr_images_sender_metrics(const struct sr_images *images)
{
    return sr_image_sender_metrics(images->sender);
}

const struct sr_image_receiver_metrics *sr_images_receiver_metrics(const struct sr_images *images)
{
    return sr_image_receiver_metrics(atomic_load(&images->receiver));
}
