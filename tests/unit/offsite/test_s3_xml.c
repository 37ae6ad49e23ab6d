/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of S3: what is read of them, and what is refused.
 */
#include <stdio.h>
#include <string.h>

#include "node/offsite/s3_xml.h"
#include "tests/unit/cmocka.h"

static char trace[1024];

static int note(void *arg, const char *parent, const char *name, const char *text,
                struct sr_err *err)
{
    size_t used = strlen(trace);
    (void)arg;
    snprintf(trace + used, sizeof(trace) - used, "%s/%s=%s;", parent, name, text);
    return strcmp(name, "Stop") == 0 ? sr_err_set(err, SR_LIMIT, "enough") : SR_OK;
}

static int read_text(const char *text)
{
    trace[0] = 0;
    return sr_s3_xml_read(sr_bytes_of(text), note, NULL, NULL);
}

static void test_elements(void **state)
{
    (void)state;
    assert_int_equal(read_text("<?xml version=\"1.0\"?>\n<A x=\"y\"> <B>t&amp;&#x41;<!-- c -->u</B>"
                               "<C><D/></C></A>"),
                     SR_OK);
    assert_string_equal(trace, "A/B=t&Au;C/D=;A/C=;/A=;");
    assert_int_equal(read_text("<A><B>1</B><Stop/><B>2</B></A>"), SR_LIMIT);
    assert_string_equal(trace, "A/B=1;A/Stop=;");
}

static void test_refusals(void **state)
{
    static const char *const texts[] = {
        "",
        "no",
        "<A>",
        "<A></B>",
        "<A/><A/>",
        "<!DOCTYPE a><A/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><A>&b;</A>",
        "<A>&b;</A>",
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(read_text(texts[i]), SR_FORMAT);
    }
    char longest[SR_S3_TEXT_MAX + 16];
    memset(longest, 'x', sizeof(longest));
    memcpy(longest, "<A>", 3);
    memcpy(longest + sizeof(longest) - 5, "</A>", 5);
    assert_int_equal(read_text(longest), SR_FORMAT);
}

static void read_error(const char *text, struct sr_s3_error *ret)
{
    sr_s3_xml_error(sr_bytes_of(text), ret);
}

static void test_error(void **state)
{
    struct sr_s3_error error;
    (void)state;
    read_error("<Error><Code>SlowDown</Code><Message>no</Message><Region>eu-1</Region></Error>",
               &error);
    assert_string_equal(error.code, "SlowDown");
    assert_string_equal(error.region, "eu-1");
    read_error("<ListBucketResult><Code>SlowDown</Code></ListBucketResult>", &error);
    assert_string_equal(error.code, "");
    read_error("<html><body><p>Bad Gateway", &error);
    assert_string_equal(error.code, "");
    /* What is to stand in a sentence is a word. */
    read_error("<Error><Code>a b</Code><Region>&#10;</Region></Error>", &error);
    assert_string_equal(error.code, "");
    assert_string_equal(error.region, "");
    /* S3 shows the request that it would have signed, which has a token in it. */
    char long_one[3 * SR_S3_TEXT_MAX];
    memset(long_one, 'x', sizeof(long_one));
    static const char begin[] = "<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>";
    static const char end[] = "</CanonicalRequest></Error>";
    memcpy(long_one, begin, sizeof(begin) - 1);
    memcpy(long_one + sizeof(long_one) - sizeof(end), end, sizeof(end));
    read_error(long_one, &error);
    assert_string_equal(error.code, "SignatureDoesNotMatch");
    read_error("", &error);
    assert_string_equal(error.code, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
