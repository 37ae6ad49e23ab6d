/* SPDX-License-Identifier: Apache-2.0
 *
 * cmocka wants these headers before its own, in this order.
 */
#ifndef SR_TESTS_UNIT_CMOCKA_H
#define SR_TESTS_UNIT_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* the next one needs those above */
#include <cmocka.h>

#endif
