/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a command takes archives from: a target of a configuration, or one that the command line
 * describes; and what of it is meant. Shared by the commands that read what was shipped.
 */
#ifndef SR_CLIENT_SOURCE_H
#define SR_CLIENT_SOURCE_H

#include <getopt.h>

#include "base/err.h"
#include "node/config/config.h"
#include "node/offsite/target.h"
#include "node/restore/plan.h"

/* Options that these commands have in common, for getopt_long: values from 256 on. */
enum source_option {
    SOURCE_FROM = 256,
    SOURCE_TARGET,
    SOURCE_ENDPOINT,
    SOURCE_REGION,
    SOURCE_CA_FILE,
    SOURCE_CREDENTIALS_FILE,
    SOURCE_PROFILE,
    SOURCE_PROXY,
    SOURCE_VIRTUAL_HOST,
    SOURCE_CLUSTER,
    SOURCE_SIGNED_BY,
    SOURCE_OPTION_END /* a command's own begin here */
};
/* clang-format off */
#define SOURCE_OPTIONS                                                                             \
    {"from", required_argument, NULL, SOURCE_FROM},                                                \
    {"target", required_argument, NULL, SOURCE_TARGET},                                            \
    {"endpoint", required_argument, NULL, SOURCE_ENDPOINT},                                        \
    {"region", required_argument, NULL, SOURCE_REGION},                                            \
    {"ca-file", required_argument, NULL, SOURCE_CA_FILE},                                          \
    {"credentials-file", required_argument, NULL, SOURCE_CREDENTIALS_FILE},                        \
    {"profile", required_argument, NULL, SOURCE_PROFILE},                                          \
    {"proxy", required_argument, NULL, SOURCE_PROXY},                                              \
    {"virtual-host", no_argument, NULL, SOURCE_VIRTUAL_HOST},                                      \
    {"cluster", required_argument, NULL, SOURCE_CLUSTER},                                          \
    {"signed-by", required_argument, NULL, SOURCE_SIGNED_BY}
/* clang-format on */
/* What --help says of them. */
extern const char source_help[];

/* What was said; zeros at first. Texts are borrowed. */
struct source {
    const char *command; /* for messages */
    struct sr_target_config flags;
    const char *target; /* of the configuration */
    bool at_full_speed; /* whatever bytes_per_second of the configuration says */
    uint64_t cluster_id;
    const char *signed_by;
};

/* Take @option if it is one of these. 1: taken; 0: it is none; -1: it is wrong, and was told on
 * standard error. */
int source_take(struct source *source, int option, const char *value);
/* Open the target. @config: NULL, if there is none; a target of it with the same url is opened as
 * it says there, as far as the command line does not say otherwise. Ignores SIGPIPE from then on.
 * SR_INVALID: nobody has said which; as sr_target_open. */
int source_open(const struct source *source, const struct sr_config *config, struct sr_target **ret,
                struct sr_err *err);
/* The same, @count times, for as many threads: @list gets all of them, or, when it fails, none.
 * Each asks for its credentials itself, once it is used: a command that prints them is run once for
 * each. */
int source_open_all(const struct source *source, const struct sr_config *config,
                    struct sr_target **list, size_t count, struct sr_err *err);
/* Put cluster and signer into @wish. */
void source_wish(const struct source *source, struct sr_plan_wish *wish);

#endif
