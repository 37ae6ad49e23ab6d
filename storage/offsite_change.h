/* SPDX-License-Identifier: Apache-2.0
 *
 * What a change makes of the off-site record. A pure function of the two, so that it is the same on
 * every node. Inside storage/ only.
 */
#ifndef SR_STORAGE_OFFSITE_CHANGE_H
#define SR_STORAGE_OFFSITE_CHANGE_H

#include "base/buf.h"
#include "proto/api_error.h"
#include "proto/offsite.pb-c.h"

/* Whether @record is within its bounds: what else is in a file or an image is damage. */
bool sr_offsite_is_in_bounds(const Strongroom__OffsiteRecord *record);

/* Apply @change, which is no Init, to @record. Appends the packed record that follows to the empty
 * @ret_packed; leaves it empty when nothing changes, and when the result is an error. */
enum sr_api_error sr_offsite_change(const Strongroom__OffsiteRecord *record,
                                    const Strongroom__OffsiteChange *change,
                                    struct sr_buf *ret_packed);

#endif
