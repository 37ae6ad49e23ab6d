/* SPDX-License-Identifier: Apache-2.0
 *
 * The two forms that credentials have: lines of "name = value" under sections, and a flat object of
 * JSON. Both are read in place, in secret memory: a library would leave copies.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/secret.h"
#include "node/offsite/credentials.h"

/* ---- What both have ---- */

static bool is_name(struct sr_bytes name, const char *text)
{
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static bool keep(char *out, size_t size_max, struct sr_bytes value)
{
    if (value.size >= size_max) {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] <= ' ' || value.data[i] >= 0x7f) { /* it goes into a header */
            return false;
        }
    }
    memcpy(out, value.data, value.size);
    out[value.size] = 0;
    return true;
}

/* "2026-11-23T10:00:00Z", "...+00:00", with or without fractions. */
static bool keep_time(uint64_t *out_ms, struct sr_bytes value)
{
    char text[40];
    struct tm when = {0};
    if (!keep(text, sizeof(text), value)) {
        return false;
    }
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &when);
    if (rest == NULL) {
        return false;
    }
    if (*rest == '.') {
        rest += 1 + strspn(rest + 1, "0123456789");
    }
    if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0) {
        return false;
    }
    *out_ms = (uint64_t)timegm(&when) * 1000;
    return true;
}

static bool take(struct sr_credentials *ret, struct sr_bytes name, struct sr_bytes value)
{
    if (is_name(name, "aws_access_key_id") || is_name(name, "AccessKeyId")) {
        return keep(ret->access_key, sizeof(ret->access_key), value);
    }
    if (is_name(name, "aws_secret_access_key") || is_name(name, "SecretAccessKey")) {
        return keep(ret->secret_key, sizeof(ret->secret_key), value);
    }
    if (is_name(name, "aws_session_token") || is_name(name, "SessionToken")) {
        return keep(ret->session_token, sizeof(ret->session_token), value);
    }
    if (is_name(name, "Expiration")) {
        return keep_time(&ret->expires_ms, value);
    }
    return true;
}

/* ---- Lines ---- */

static struct sr_bytes trim(struct sr_bytes text)
{
    while (text.size > 0 && isspace(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

static struct sr_bytes next_line(struct sr_bytes *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->size);
    struct sr_bytes line = {text->data, end == NULL ? text->size : (size_t)(end - text->data)};
    size_t used = line.size + (end != NULL);
    text->data += used;
    text->size -= used;
    return trim(line);
}

static int parse_lines(struct sr_bytes text, const char *profile, struct sr_credentials *ret,
                       struct sr_err *err)
{
    bool ours = true; /* before any section */
    bool found = false;
    for (unsigned number = 1; text.size > 0; number++) {
        struct sr_bytes line = next_line(&text);
        if (line.size == 0 || line.data[0] == '#' || line.data[0] == ';') {
            continue;
        }
        if (line.data[0] == '[' && line.data[line.size - 1] == ']' && line.size > 2) {
            ours = is_name(trim((struct sr_bytes){line.data + 1, line.size - 2}), profile);
            continue;
        }
        const uint8_t *equals = memchr(line.data, '=', line.size);
        if (equals == NULL) {
            return sr_err_set(err, SR_INVALID, "line %u has no \"=\"", number);
        }
        if (ours) {
            size_t before = (size_t)(equals - line.data);
            found = true;
            if (!take(ret, trim((struct sr_bytes){line.data, before}),
                      trim((struct sr_bytes){equals + 1, line.size - before - 1}))) {
                return sr_err_set(err, SR_INVALID, "line %u has a value that cannot be", number);
            }
        }
    }
    return found ? SR_OK : sr_err_set(err, SR_NOT_FOUND, "there is no profile [%s]", profile);
}

/* ---- JSON ---- */

static void skip_space(struct sr_reader *in)
{
    while (sr_reader_left(in) > 0 && strchr(" \t\r\n", in->data[in->offset]) != NULL &&
           in->data[in->offset] != 0) {
        in->offset++;
    }
}

static bool expect(struct sr_reader *in, char wanted)
{
    skip_space(in);
    return sr_read_u8(in) == (uint8_t)wanted && !in->failed;
}

/* The character behind a backslash; 0 for what no credential needs. */
static char unescape(struct sr_reader *in)
{
    static const char from[] = "\"\\/";
    uint8_t escaped = sr_read_u8(in);
    if (escaped == 'u') {
        struct sr_bytes digits = sr_read_bytes(in, 4);
        char text[5] = {0};
        if (digits.size == 4) {
            memcpy(text, digits.data, 4);
        }
        bool is_number = strspn(text, "0123456789abcdefABCDEF") == 4;
        unsigned long value = is_number ? strtoul(text, NULL, 16) : 0;
        return (char)(value < 0x7f ? value : 0);
    }
    return (char)(escaped != 0 && strchr(from, escaped) != NULL ? escaped : 0);
}

/* A string into @out, @size_max bytes of it. */
static bool read_string(struct sr_reader *in, char *out, size_t size_max, size_t *ret_size)
{
    size_t size = 0;
    if (!expect(in, '"')) {
        return false;
    }
    for (;;) {
        uint8_t c = sr_read_u8(in);
        if (in->failed || c < ' ') {
            return false;
        }
        if (c == '"') {
            *ret_size = size;
            return true;
        }
        if (c == '\\') {
            c = (uint8_t)unescape(in);
        }
        if (c == 0 || size == size_max) {
            return false;
        }
        out[size++] = (char)c;
    }
}

/* A number, true, false or null: of no interest. */
static bool skip_word(struct sr_reader *in)
{
    size_t begin = in->offset;
    while (sr_reader_left(in) > 0 &&
           (isalnum(in->data[in->offset]) || strchr("+-.", in->data[in->offset]) != NULL) &&
           in->data[in->offset] != 0) {
        in->offset++;
    }
    return in->offset > begin;
}

static bool parse_member(struct sr_reader *in, char *value, struct sr_credentials *ret)
{
    char name[64];
    size_t name_size = 0, value_size = 0;
    if (!read_string(in, name, sizeof(name), &name_size) || !expect(in, ':')) {
        return false;
    }
    skip_space(in);
    if (sr_reader_left(in) > 0 && in->data[in->offset] != '"') {
        return skip_word(in);
    }
    return read_string(in, value, sizeof(ret->session_token), &value_size) &&
           take(ret, (struct sr_bytes){(const uint8_t *)name, name_size},
                (struct sr_bytes){(const uint8_t *)value, value_size});
}

static int parse_json(struct sr_bytes text, struct sr_credentials *ret, struct sr_err *err)
{
    struct sr_reader in = sr_reader_of(text.data, text.size);
    char *value = sr_secret_alloc(sizeof(ret->session_token));
    bool good = expect(&in, '{');
    bool more = good;
    while (good && more) {
        good = parse_member(&in, value, ret);
        skip_space(&in);
        uint8_t after = sr_read_u8(&in);
        more = after == ',';
        good = good && (more || after == '}');
    }
    skip_space(&in);
    good = good && !in.failed && sr_reader_left(&in) == 0;
    sr_secret_free(value, sizeof(ret->session_token));
    return good ? SR_OK
                : sr_err_set(err, SR_INVALID, "not a flat object of JSON, around byte %zu",
                             in.offset);
}

int sr_credentials_parse(const char *text, size_t size, const char *profile,
                         struct sr_credentials *ret, struct sr_err *err)
{
    struct sr_bytes all = trim((struct sr_bytes){(const uint8_t *)text, size});
    memset(ret, 0, sizeof(*ret));
    int status = all.size > 0 && all.data[0] == '{' ? parse_json(all, ret, err)
                                                    : parse_lines(all, profile, ret, err);
    if (status == SR_OK && (ret->access_key[0] == 0 || ret->secret_key[0] == 0)) {
        status = sr_err_set(err, SR_INVALID, "access key or secret key is missing");
    }
    if (status != SR_OK) {
        sr_secret_wipe(ret, sizeof(*ret));
    }
    return status;
}
