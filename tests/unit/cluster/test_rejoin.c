/* SPDX-License-Identifier: Apache-2.0
 *
 * What `strongroom rebuild` leaves, as the node finds it.
 */
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/cluster/rejoin.h"

static char dir[64];
static struct sr_config config;

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/rejoin.XXXXXX");
    assert_non_null(mkdtemp(dir));
    config = (struct sr_config){.data_dir = dir};
    return 0;
}

static int teardown(void **state)
{
    struct sr_config_join *join = config.cluster.join;
    (void)state;
    for (unsigned i = 0; join != NULL && i < join->peers_count; i++) {
        sr_free(join->peers[i]);
    }
    if (join != NULL) {
        sr_free(join->peers);
        sr_free(join->token_file);
        sr_free(join);
    }
    sr_rejoin_forget(&config);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void leave(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void nothing_was_left(void **state)
{
    struct sr_err err = {0};
    (void)state;
    leave("join-token", "t"); /* interrupted before it was complete */
    assert_int_equal(sr_rejoin_take(&config, &err), SR_OK);
    assert_null(config.cluster.join);
}

static void peers_and_token_are_taken(void **state)
{
    struct sr_err err = {0};
    (void)state;
    leave("join-token", "t");
    leave("join-peers", "a.example:2380\n[::1]:2380\n");
    assert_int_equal(sr_rejoin_take(&config, &err), SR_OK);
    assert_int_equal(config.cluster.join->peers_count, 2);
    assert_string_equal(config.cluster.join->peers[0], "a.example:2380");
    assert_string_equal(config.cluster.join->peers[1], "[::1]:2380");
    assert_int_equal(access(config.cluster.join->token_file, R_OK), 0);
    sr_rejoin_forget(&config);
    assert_int_equal(access(config.cluster.join->token_file, R_OK), -1);
}

static void anything_else_is_refused(void **state)
{
    static const char *const texts[] = {"", "no address\n", "a.example:2380\n\n"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct sr_err err = {0};
        leave("join-peers", texts[i]);
        assert_int_equal(sr_rejoin_take(&config, &err), SR_CORRUPT);
        assert_null(config.cluster.join);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing_was_left),
        TEST(peers_and_token_are_taken),
        TEST(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
