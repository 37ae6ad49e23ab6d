/* SPDX-License-Identifier: Apache-2.0
 *
 * What S3 and libcurl say, and what becomes of it; how long is waited.
 */
#include <stdint.h>

#include "node/offsite/pace.h"
#include "node/offsite/retry.h"
#include "tests/unit/cmocka.h"

#define SECOND_NS ((uint64_t)1000 * 1000 * 1000)

static void test_answers(void **state)
{
    static const struct {
        long http_status;
        const char *code;
        int status;
        bool retry;
    } cases[] = {
        {200, "", SR_OK, false},
        {206, "", SR_OK, false},
        {200, "InternalError", SR_AGAIN, true},
        {200, "SomethingNew", SR_AGAIN, true},
        {500, "", SR_AGAIN, true},
        {502, "", SR_AGAIN, true},
        {503, "SlowDown", SR_AGAIN, true},
        {503, "SomethingNew", SR_AGAIN, true},
        {429, "", SR_AGAIN, true},
        {400, "RequestTimeout", SR_TIMEOUT, true},
        {400, "BadDigest", SR_CORRUPT, true},
        {400, "SomethingNew", SR_FORMAT, false},
        {403, "QuotaExceeded", SR_NO_SPACE, false},
        {507, "", SR_NO_SPACE, false},
        {403, "RequestTimeTooSkewed", SR_REFUSED, false},
        {301, "", SR_REFUSED, false},
        {404, "NoSuchKey", SR_NOT_FOUND, false},
        {404, "", SR_NOT_FOUND, false},
        {409, "OperationAborted", SR_AGAIN, true},
        {412, "PreconditionFailed", SR_EXISTS, false},
        {416, "", SR_INVALID, false},
        {501, "", SR_FORMAT, false},
        {100, "", SR_FORMAT, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sr_verdict verdict = sr_retry_answer(cases[i].http_status, cases[i].code);
        assert_int_equal(verdict.status, cases[i].status);
        assert_int_equal(verdict.retry, cases[i].retry);
        assert_false(verdict.credentials);
    }
}

static void test_answers_about_credentials(void **state)
{
    static const char *const codes[] = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId",
                                        "SignatureDoesNotMatch", "AccessDenied"};
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct sr_verdict verdict = sr_retry_answer(403, codes[i]);
        assert_int_equal(verdict.status, SR_REFUSED);
        assert_true(verdict.retry && verdict.credentials);
    }
}

static void test_transport(void **state)
{
    (void)state;
    assert_int_equal(sr_retry_transport(CURLE_OK).status, SR_OK);
    const CURLcode passing[] = {CURLE_COULDNT_CONNECT, CURLE_COULDNT_RESOLVE_HOST,
                                CURLE_RECV_ERROR,      CURLE_SEND_ERROR,
                                CURLE_PARTIAL_FILE,    CURLE_GOT_NOTHING};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        assert_int_equal(sr_retry_transport(passing[i]).status, SR_NETWORK);
        assert_true(sr_retry_transport(passing[i]).retry);
    }
    assert_int_equal(sr_retry_transport(CURLE_OPERATION_TIMEDOUT).status, SR_TIMEOUT);
    assert_int_equal(sr_retry_transport(CURLE_PEER_FAILED_VERIFICATION).status, SR_REFUSED);
    assert_false(sr_retry_transport(CURLE_PEER_FAILED_VERIFICATION).retry);
    assert_false(sr_retry_transport(CURLE_SSL_CACERT_BADFILE).retry);
}

static void test_waits(void **state)
{
    (void)state;
    uint64_t usual_ms = 200;
    for (unsigned attempt = 2; attempt < 60; attempt++) {
        assert_int_equal(sr_retry_wait_ms(attempt, 0, 0), usual_ms / 2);
        for (uint64_t random = 1; random < UINT64_MAX / 3; random *= 3) {
            uint64_t wait_ms = sr_retry_wait_ms(attempt, 0, random);
            assert_true(wait_ms >= usual_ms / 2 && wait_ms <= usual_ms);
        }
        usual_ms = usual_ms * 2 < 20000 ? usual_ms * 2 : 20000;
    }
    assert_int_equal(sr_retry_wait_ms(2, 7, 0), 7000);
    assert_int_equal(sr_retry_wait_ms(9, 7, 123), 7123);
    assert_int_equal(sr_retry_wait_ms(2, 86400, 0), 60000);
}

static void test_pace(void **state)
{
    struct sr_pace pace;
    (void)state;
    sr_pace_init(&pace, 0);
    assert_int_equal(sr_pace_take(&pace, 1000000, 5), 5);

    sr_pace_init(&pace, 1000);
    assert_int_equal(sr_pace_take(&pace, 500, SECOND_NS), SECOND_NS * 3 / 2);
    assert_int_equal(sr_pace_take(&pace, 500, SECOND_NS), SECOND_NS * 2);
    /* A pause is not saved up. */
    assert_int_equal(sr_pace_take(&pace, 1000, 10 * SECOND_NS), 11 * SECOND_NS);
    /* Nothing overflows: 8 EiB at once. */
    sr_pace_init(&pace, UINT64_MAX / 2);
    assert_int_equal(sr_pace_take(&pace, SIZE_MAX / 2, 0), SECOND_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_answers_about_credentials),
        cmocka_unit_test(test_transport), cmocka_unit_test(test_waits),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
