/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipper and the drill (node/offsite/shipper.h, drill.h) put into this node: what they ask of
 * consensus, and a proposer of their own, so that a claim never waits for what the steward
 * proposes.
 */
#ifndef SR_NODE_SHIPPING_H
#define SR_NODE_SHIPPING_H

#include "node/cluster/proposer.h"
#include "node/config/config.h"
#include "node/datadir.h"
#include "node/offsite/shipper.h"

struct sr_shipping;

/* Before consensus starts; all but @ret and @err must outlive it. *ret is NULL when the
 * configuration ships nothing. Fails as sr_shipper_open and sr_drill_open. */
int sr_shipping_open(const struct sr_config *config, const struct sr_datadir *dir,
                     struct sr_store *store, struct sr_origins *origins, struct sr_shipping **ret,
                     struct sr_err *err);
/* NULL is fine in all of these. */
void sr_shipping_start(struct sr_shipping *shipping, struct sr_consensus *consensus);
void sr_shipping_stop(struct sr_shipping *shipping); /* before consensus stops */
void sr_shipping_free(struct sr_shipping *shipping); /* after that */

/* Any thread: as sr_shipper_ship_now. */
unsigned sr_shipping_ship_now(struct sr_shipping *shipping);
/* Any thread: what is known here of targets, shipments and drills. */
void sr_shipping_view(const struct sr_shipping *shipping, struct sr_shipper_view *ret);

#endif
