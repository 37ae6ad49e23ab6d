/* SPDX-License-Identifier: Apache-2.0
 *
 * cmocka wants these headers before its own, in this order. And every test ignores SIGPIPE, as
 * the daemon does: the other side may hang up while something is written to it.
 */
#ifndef SR_TESTS_UNIT_CMOCKA_H
#define SR_TESTS_UNIT_CMOCKA_H

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* the next one needs those above */
#include <cmocka.h>

__attribute__((constructor)) static void ignore_sigpipe(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
}

#endif
