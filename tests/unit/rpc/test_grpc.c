/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rpc/grpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void timeouts(void **state)
{
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"1n", 1},
        {"250m", 250000000},
        {"4996959u", 4996959000ULL},
        {"5S", 5000000000ULL},
        {"2M", 120000000000ULL},
        {"1H", 3600000000000ULL},
        {"0S", 0},
        {"99999999S", 99999999000000000ULL},
        {"99999999H", UINT64_MAX},
    };
    static const char *const bad[] = {"",           "5",   "S",    "-1S", "1s",
                                      "123456789S", "1 S", "1.5S", "+1S"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t ns = 0;
        assert_true(grpc_parse_timeout(sr_bytes_of(good[i].text), &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t ns = 7;
        assert_false(grpc_parse_timeout(sr_bytes_of(bad[i]), &ns));
        assert_int_equal(ns, 7);
    }
}

static void check_encoding(const char *text, const char *expected)
{
    struct sr_buf out = {0};
    grpc_encode_message(&out, text);
    assert_int_equal(out.size, strlen(expected));
    assert_memory_equal(out.data, expected, out.size);
    sr_buf_close(&out);
}

static void messages(void **state)
{
    struct sr_buf out = {0};
    char longest[2 * GRPC_TEXT_BYTES_MAX + 1];
    (void)state;
    check_encoding("plain text: ~!\"", "plain text: ~!\"");
    check_encoding("100%", "100%25");
    check_encoding("a\nb\tc", "a%0Ab%09c");
    check_encoding("\xc3\xa9\x7f", "%C3%A9%7F");
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    grpc_encode_message(&out, longest);
    assert_int_equal(out.size, GRPC_TEXT_BYTES_MAX);
    sr_buf_close(&out);
}

static void content_types(void **state)
{
    (void)state;
    assert_true(grpc_is_content_type(sr_bytes_of("application/grpc")));
    assert_true(grpc_is_content_type(sr_bytes_of("application/grpc+proto")));
    assert_true(grpc_is_content_type(sr_bytes_of("application/grpc;charset=utf-8")));
    assert_false(grpc_is_content_type(sr_bytes_of("application/grpc-web")));
    assert_false(grpc_is_content_type(sr_bytes_of("application/grp")));
    assert_false(grpc_is_content_type(sr_bytes_of("application/json")));
    assert_false(grpc_is_content_type(sr_bytes_of("")));
}

static void request_ids(void **state)
{
    uint8_t id[16] = {0};
    (void)state;
    assert_true(grpc_parse_request_id(sr_bytes_of("00112233445566778899aAbBcCdDeEfF"), id));
    for (size_t i = 0; i < sizeof(id); i++) {
        assert_int_equal(id[i], i * 0x11);
    }
    assert_false(grpc_parse_request_id(sr_bytes_of("00112233445566778899aAbBcCdDeEf"), id));
    assert_false(grpc_parse_request_id(sr_bytes_of("00112233445566778899aAbBcCdDeEfG"), id));
    assert_false(grpc_parse_request_id(sr_bytes_of("00112233445566778899aAbBcCdDeEfF0"), id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts),
        cmocka_unit_test(messages),
        cmocka_unit_test(content_types),
        cmocka_unit_test(request_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
