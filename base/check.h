/* SPDX-License-Identifier: Apache-2.0
 *
 * Assertions for what only a bug can break. They are on in every build: a node that has lost its
 * invariants must stop before it answers. What the outside world can break gets an error code.
 */
#ifndef SR_BASE_CHECK_H
#define SR_BASE_CHECK_H

/* Log the broken condition and abort. Never returns; callable from any thread. */
_Noreturn void sr_check_failed(const char *condition, const char *file, int line);

#define sr_check(condition)                                                                        \
    ((condition) ? (void)0 : sr_check_failed(#condition, __FILE__, __LINE__))

#endif
