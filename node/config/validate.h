/* SPDX-License-Identifier: Apache-2.0
 *
 * What the schema cannot say: ranges, names, addresses, and what has to fit together. Inside
 * node/config only.
 */
#ifndef SR_NODE_CONFIG_VALIDATE_H
#define SR_NODE_CONFIG_VALIDATE_H

#include "node/config/config.h"
#include "node/config/source.h"

/* Check all numbers of @source against their ranges, by their text: before the schema reads them,
 * because libcyaml takes "010" for 8 and "12k" for 12. */
int sr_config_check_numbers(const struct sr_config_source *source, struct sr_err *err);
/* The number at @path, if the file has it. */
int sr_config_check_number(const struct sr_config_source *source, const char *path, uint64_t min,
                           uint64_t max, struct sr_err *err);
int sr_config_check_offsite_numbers(const struct sr_config_source *source, struct sr_err *err);
/* Fill in what was not given. */
void sr_config_apply_defaults(const struct sr_config_source *source, struct sr_config *config);
void sr_config_apply_offsite_defaults(const struct sr_config_source *source,
                                      struct sr_config_offsite *offsite);
int sr_config_validate_offsite(const struct sr_config_source *source,
                               const struct sr_config_offsite *offsite, struct sr_err *err);
/* Check everything else. */
int sr_config_validate(const struct sr_config_source *source, const struct sr_config *config,
                       struct sr_err *err);

#endif
