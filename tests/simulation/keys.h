/* SPDX-License-Identifier: Apache-2.0
 *
 * Keyrings of the members: made once a process, since no rule depends on what keys are drawn.
 */
#ifndef SR_TESTS_SIMULATION_KEYS_H
#define SR_TESTS_SIMULATION_KEYS_H

#include <stddef.h>

#include "storage/keyring.h"

/* Of member @at; kept until keys_close. @dir is where its file is for a moment. */
struct sr_keyring *keys_of(const char *dir, size_t at);
void keys_close(void);

#endif
