/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory for keys: locked out of swap, kept out of core dumps, wiped before it is given back.
 */
#ifndef SR_BASE_SECRET_H
#define SR_BASE_SECRET_H

#include <stddef.h>

/* @size bytes of zeroed, locked, undumped memory on pages of its own. Never NULL: a node that
 * cannot protect its keys stops. */
void *sr_secret_alloc(size_t size) __attribute__((returns_nonnull));
/* Wipe and release; @size as allocated. NULL is fine. */
void sr_secret_free(void *memory, size_t size);
/* Wipe @size bytes on the stack or heap so that the compiler cannot leave it out. */
void sr_secret_wipe(void *memory, size_t size);
/* Make this process undumpable and untraceable by its own user. Call first thing in main. */
void sr_secret_protect_process(void);

#endif
