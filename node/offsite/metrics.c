/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/metrics.h"

const char *sr_ship_reason_text(enum sr_ship_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) [SR_SHIP_##name] = (text),
        SR_SHIP_REASONS(X)
#undef X
    };
    return texts[reason];
}

const char *sr_drill_reason_text(enum sr_drill_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) [SR_DRILL_##name] = (text),
        SR_DRILL_REASONS(X)
#undef X
    };
    return texts[reason];
}
