/* SPDX-License-Identifier: Apache-2.0
 *
 * How long nothing worked: the times between one success and the next, the long ones.
 */
#include <stdio.h>

#include "tests/bench/load.h"

#define GAP_MIN_NS UINT64_C(20000000)
#define GAPS_MAX   4096

static struct {
    uint64_t last_ns; /* 0: nothing has worked yet */
    struct {
        uint64_t begin_ns;
        uint64_t end_ns;
    } gaps[GAPS_MAX];
    unsigned count;
} all;

void load_gaps_success(uint64_t now_ns)
{
    if (all.last_ns != 0 && now_ns - all.last_ns >= GAP_MIN_NS) {
        if (all.count == GAPS_MAX) {
            load_die("gaps", "there are too many");
        }
        all.gaps[all.count].begin_ns = all.last_ns;
        all.gaps[all.count++].end_ns = now_ns;
    }
    all.last_ns = now_ns;
}

void load_gaps_print(uint64_t now_ns)
{
    if (all.last_ns != 0) {
        load_gaps_success(now_ns);
    }
    printf("[");
    for (unsigned i = 0; i < all.count; i++) {
        printf("%s[%.6f, %.6f]", i > 0 ? ", " : "", (double)all.gaps[i].begin_ns / 1e9,
               (double)all.gaps[i].end_ns / 1e9);
    }
    printf("]");
}
