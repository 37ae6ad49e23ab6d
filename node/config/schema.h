/* SPDX-License-Identifier: Apache-2.0
 *
 * The shape of the configuration: which fields there are, of which type. Inside node/config only.
 */
#ifndef SR_NODE_CONFIG_SCHEMA_H
#define SR_NODE_CONFIG_SCHEMA_H

#include "node/config/config.h"
#include "node/config/source.h"

/* Fill a struct from the text of @source. Absent optional fields are zero or NULL. SR_INVALID for
 * unknown, missing, repeated and ill-typed fields, each by its path. */
int sr_config_schema_load(const struct sr_config_source *source, struct sr_config **ret,
                          struct sr_err *err);
void sr_config_schema_free(struct sr_config *config); /* NULL is fine */

#endif
