/* SPDX-License-Identifier: Apache-2.0
 *
 * What a manifest and a proof must say to be possible at all; for who signs one, and who reads one.
 * Inside storage/ only.
 */
#ifndef SR_STORAGE_MANIFEST_RULES_H
#define SR_STORAGE_MANIFEST_RULES_H

#include "storage/manifest.h"

/* SR_FORMAT: of a newer version; SR_INVALID, with what is wrong. */
int sr_manifest_validate(const Strongroom__Manifest *manifest, struct sr_err *err);
int sr_proof_validate(const Strongroom__Proof *proof, struct sr_err *err);

#endif
