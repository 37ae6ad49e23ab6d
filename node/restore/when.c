/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/when.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *sr_when_text(uint64_t ms, char out[SR_WHEN_CHARS])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (ms == 0 || gmtime_r(&seconds, &utc) == NULL ||
        strftime(out, SR_WHEN_CHARS - 8, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
        snprintf(out, SR_WHEN_CHARS, "an unknown time");
        return out;
    }
    size_t used = strlen(out);
    if (ms % 1000 == 0) {
        snprintf(out + used, SR_WHEN_CHARS - used, "Z");
    } else {
        snprintf(out + used, SR_WHEN_CHARS - used, ".%03uZ", (unsigned)(ms % 1000));
    }
    return out;
}

/* Exactly @count digits; -1: they are not. Moves @text behind them. */
static int digits(const char **text, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (!isdigit((unsigned char)**text)) {
            return -1;
        }
        value = value * 10 + (**text - '0');
    }
    return value;
}

static bool one_of(const char **text, const char *characters)
{
    bool is = **text != '\0' && strchr(characters, **text) != NULL;
    *text += is ? 1 : 0;
    return is;
}

/* Up to milliseconds; what is finer is passed over. */
static bool fraction(const char **text, unsigned *ret_ms)
{
    unsigned scale = 100;
    *ret_ms = 0;
    if (!one_of(text, ".")) {
        return true;
    }
    if (!isdigit((unsigned char)**text)) {
        return false;
    }
    for (; isdigit((unsigned char)**text); (*text)++, scale /= 10) {
        *ret_ms += (unsigned)(**text - '0') * scale;
    }
    return true;
}

static bool zone(const char **text, int *ret_seconds)
{
    int sign = **text == '-' ? -1 : 1;
    *ret_seconds = 0;
    if (one_of(text, "Zz")) {
        return true;
    }
    if (!one_of(text, "+-")) {
        return false;
    }
    int hours = digits(text, 2);
    if (!one_of(text, ":")) {
        return false;
    }
    int minutes = digits(text, 2);
    *ret_seconds = sign * (hours * 3600 + minutes * 60);
    return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

static bool date_and_time(const char **text, struct tm *ret)
{
    struct tm when = {0};
    when.tm_year = digits(text, 4) - 1900;
    if (!one_of(text, "-")) {
        return false;
    }
    when.tm_mon = digits(text, 2) - 1;
    if (!one_of(text, "-")) {
        return false;
    }
    when.tm_mday = digits(text, 2);
    if (!one_of(text, "Tt ")) {
        return false;
    }
    when.tm_hour = digits(text, 2);
    if (!one_of(text, ":")) {
        return false;
    }
    when.tm_min = digits(text, 2);
    if (!one_of(text, ":")) {
        return false;
    }
    when.tm_sec = digits(text, 2);
    *ret = when;
    return when.tm_year >= 70 && when.tm_hour >= 0 && when.tm_hour < 24 && when.tm_min >= 0 &&
           when.tm_min < 60 && when.tm_sec >= 0 && when.tm_sec < 61;
}

bool sr_when_parse(const char *text, uint64_t *ret_ms)
{
    struct tm when;
    unsigned ms = 0;
    int offset = 0;
    if (!date_and_time(&text, &when) || !fraction(&text, &ms) || !zone(&text, &offset) ||
        *text != '\0') {
        return false;
    }
    struct tm same = when;
    time_t seconds = timegm(&same);
    /* A day that is not in the calendar comes back as another one. */
    if (same.tm_mday != when.tm_mday || same.tm_mon != when.tm_mon || seconds < offset) {
        return false;
    }
    *ret_ms = (uint64_t)(seconds - offset) * 1000 + ms;
    return true;
}
