/* SPDX-License-Identifier: Apache-2.0
 *
 * What `strongroom snapshot` prints, on standard output.
 */
#ifndef SR_CLIENT_SNAPSHOT_PRINT_H
#define SR_CLIENT_SNAPSHOT_PRINT_H

#include "proto/strongroom.pb-c.h"

typedef Strongroom__V1__OffsiteStatusResponse Offsite;

/* Snapshots of @target (NULL: all), the oldest first. */
void snapshot_print_list(const Offsite *offsite, const char *target);
void snapshot_print_list_json(const Offsite *offsite, const char *target);
/* Each target: how far it is, and why not further. */
void snapshot_print_status(const Offsite *offsite);
void snapshot_print_status_json(const Offsite *offsite);

/* NULL: there is none. @kind: 'F' snapshots, 'C' changes. */
const Strongroom__OffsiteChain *snapshot_chain(const Strongroom__OffsiteRecord *record,
                                               const char *target, char kind);

#endif
