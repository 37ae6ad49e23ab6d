/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipper (node/offsite/shipper.h) put into this node: what it asks of consensus, and a
 * proposer of its own, so that a claim never waits for what the steward proposes.
 */
#ifndef SR_NODE_SHIPPING_H
#define SR_NODE_SHIPPING_H

#include "node/cluster/proposer.h"
#include "node/config/config.h"
#include "node/datadir.h"
#include "node/offsite/shipper.h"

struct sr_shipping;

/* Before consensus starts; all but @ret and @err must outlive it. *ret is NULL when the
 * configuration ships nothing. Fails as sr_shipper_open. */
int sr_shipping_open(const struct sr_config *config, const struct sr_datadir *dir,
                     struct sr_store *store, struct sr_origins *origins, struct sr_shipping **ret,
                     struct sr_err *err);
/* NULL is fine in all of these. */
void sr_shipping_start(struct sr_shipping *shipping, struct sr_consensus *consensus);
void sr_shipping_stop(struct sr_shipping *shipping); /* before consensus stops */
void sr_shipping_free(struct sr_shipping *shipping); /* after that */

/* Any thread; NULL when @shipping is. */
struct sr_shipper *sr_shipping_shipper(const struct sr_shipping *shipping);

#endif
