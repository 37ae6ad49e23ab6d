/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "proto/member.h"

static void names(void **state)
{
    (void)state;
    char longest[SR_NAME_BYTES_MAX + 2];
    memset(longest, 'a', sizeof(longest));
    longest[SR_NAME_BYTES_MAX + 1] = 0;
    assert_false(sr_is_name(longest));
    longest[SR_NAME_BYTES_MAX] = 0;
    assert_true(sr_is_name(longest));
    assert_true(sr_is_name("a"));
    assert_true(sr_is_name("eu-north-1a"));
    assert_false(sr_is_name(""));
    assert_false(sr_is_name("-a"));
    assert_false(sr_is_name("a-"));
    assert_false(sr_is_name("A"));
    assert_false(sr_is_name("a.b"));
    assert_false(sr_is_name("a b"));
}

static void addresses(void **state)
{
    (void)state;
    char longest[SR_HOST_BYTES_MAX + 8];
    memset(longest, 'h', SR_HOST_BYTES_MAX + 1);
    strcpy(longest + SR_HOST_BYTES_MAX + 1, ":1");
    assert_false(sr_is_address(longest));
    assert_true(sr_is_address(longest + 1));
    assert_true(sr_is_address("n1.example:2380"));
    assert_true(sr_is_address("10.0.0.1:65535"));
    assert_true(sr_is_address("[::1]:1"));
    assert_false(sr_is_address("::1:1"));
    assert_false(sr_is_address("[host]:1"));
    assert_false(sr_is_address("host"));
    assert_false(sr_is_address("host:"));
    assert_false(sr_is_address(":1"));
    assert_false(sr_is_address("host:0"));
    assert_false(sr_is_address("host:01"));
    assert_false(sr_is_address("host:65536"));
    assert_false(sr_is_address("host:1/"));
    assert_false(sr_is_address("a b:1"));
    assert_false(sr_is_address("user@host:1"));
    assert_false(sr_is_address("a\nb:1"));
    assert_false(sr_is_address("a\x1b[2Jb:1"));
    assert_false(sr_is_address("a\"b:1"));
    assert_false(sr_is_address("[::1\n]:1"));
    assert_false(sr_is_address("h%eth0:1"));
    assert_true(sr_is_address("[fe80::1%eth0]:1"));
    assert_true(sr_is_address("Node_1.example:1"));
}

static void urls(void **state)
{
    (void)state;
    assert_true(sr_is_client_url("https://n1.example:2379"));
    assert_false(sr_is_client_url("http://n1.example:2379"));
    assert_false(sr_is_client_url("https://n1.example:2379/"));
    assert_false(sr_is_client_url("https://n1.example"));
    assert_string_equal(sr_peer_url_address("https://n1:2380"), "n1:2380");
    assert_string_equal(sr_peer_url_address("http://[::1]:2380"), "[::1]:2380");
    assert_null(sr_peer_url_address("unix://n1:2380"));
    assert_null(sr_peer_url_address("n1:2380"));
    assert_null(sr_peer_url_address("https://n1"));
    assert_null(sr_peer_url_address(""));
}

static void records(void **state)
{
    (void)state;
    char *client_urls[] = {(char[]){"https://n1:2379"}, (char[]){"nonsense"}};
    uint8_t hash[32] = {0};
    Strongroom__MemberRecord member = STRONGROOM__MEMBER_RECORD__INIT;
    member.id = 1;
    member.peer_address = (char[]){"n1:2380"};
    assert_true(sr_is_member(&member, true));
    assert_false(sr_is_member(&member, false));
    member.name = (char[]){"n1"};
    assert_false(sr_is_member(&member, false));
    member.zone = (char[]){"a"};
    assert_true(sr_is_member(&member, false));
    member.client_urls = client_urls;
    member.n_client_urls = 1;
    assert_true(sr_is_member(&member, false));
    member.n_client_urls = 2;
    assert_false(sr_is_member(&member, false));
    member.n_client_urls = 17;
    assert_false(sr_is_member(&member, false));
    member.n_client_urls = 0;
    member.token_hash = (ProtobufCBinaryData){31, hash};
    assert_false(sr_is_member(&member, false));
    member.token_hash.len = 32;
    assert_true(sr_is_member(&member, false));
    member.id = 0;
    assert_false(sr_is_member(&member, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(addresses),
        cmocka_unit_test(urls),
        cmocka_unit_test(records),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
