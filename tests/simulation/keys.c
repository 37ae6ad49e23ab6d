/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/keys.h"

#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/simulation/world.h"

static const uint8_t kek[SR_KEY_BYTES] = "the master key of simulations 32";
static struct sr_keyring *keyrings[WORLD_MEMBERS_MAX];

struct sr_keyring *keys_of(const char *dir, size_t at)
{
    char path[96];
    if (keyrings[at] == NULL) {
        snprintf(path, sizeof(path), "%.64s/keyring", dir);
        sr_check(sr_keyring_create(path, kek, WORLD_CLUSTER, at + 1, NULL) == SR_OK);
        sr_check(sr_keyring_open(path, kek, WORLD_CLUSTER, at + 1, &keyrings[at], NULL) == SR_OK);
        unlink(path);
    }
    return keyrings[at];
}

void keys_close(void)
{
    for (size_t i = 0; i < WORLD_MEMBERS_MAX; i++) {
        sr_keyring_close(keyrings[i]);
        keyrings[i] = NULL;
    }
}
