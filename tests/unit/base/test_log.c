/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* What sr_log writes to standard error for one line. */
static size_t capture(char *out, size_t size, enum sr_log_level level, const char *value)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    sr_log(level, "peer", "link lost", "member=%s reason=\"went away\"", value);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t got = read(ends[0], out, size - 1);
    close(ends[0]);
    assert_true(got >= 0);
    out[got] = '\0';
    return (size_t)got;
}

static void logfmt_is_one_line_with_fields(void **state)
{
    (void)state;
    char line[4096];
    sr_log_init(SR_LOG_INFO, SR_LOG_LOGFMT, "n1");
    capture(line, sizeof(line), SR_LOG_WARN, "n2");
    assert_non_null(strstr(line, " level=warn node=n1 part=peer msg=\"link lost\" member=n2 "
                                 "reason=\"went away\"\n"));
    assert_int_equal(capture(line, sizeof(line), SR_LOG_DEBUG, "n2"), 0);
}

static void json_has_the_same_fields(void **state)
{
    (void)state;
    char line[4096];
    sr_log_init(SR_LOG_INFO, SR_LOG_JSON, "n1");
    capture(line, sizeof(line), SR_LOG_ERROR, "n2");
    assert_non_null(strstr(line, "\"level\":\"error\",\"node\":\"n1\",\"part\":\"peer\","
                                 "\"msg\":\"link lost\",\"member\":\"n2\","
                                 "\"reason\":\"went away\"}\n"));
}

static void a_line_stays_one_line_and_bounded(void **state)
{
    (void)state;
    char line[8192];
    char value[5000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    value[10] = '\n';
    value[11] = '\x1b';
    value[12] = '\x7f';
    sr_log_init(SR_LOG_INFO, SR_LOG_LOGFMT, "n1");
    size_t size = capture(line, sizeof(line), SR_LOG_ERROR, value);
    assert_true(size > 1000 && size <= 2048);
    assert_ptr_equal(strchr(line, '\n'), line + size - 1);
    assert_null(strchr(line, '\x1b'));
    assert_null(strchr(line, '\x7f'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt_is_one_line_with_fields),
        cmocka_unit_test(json_has_the_same_fields),
        cmocka_unit_test(a_line_stays_one_line_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
