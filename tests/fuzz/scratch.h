/* SPDX-License-Identifier: Apache-2.0
 *
 * For fuzzers of what is read from files: a directory of the process, in memory where the machine
 * has such a file system, removed at the end; and randomness that is the same in every run, so
 * that an input always means the same bytes on disk.
 */
#ifndef SR_TESTS_FUZZ_SCRATCH_H
#define SR_TESTS_FUZZ_SCRATCH_H

#include <limits.h>

#include "base/buf.h"
#include "storage/keyring.h"

#define SCRATCH_CLUSTER UINT64_C(0xc1)
#define SCRATCH_MEMBER  UINT64_C(0xa1)

extern const uint8_t scratch_kek[SR_KEY_BYTES];

/* Made at the first call; ends the program when it cannot be. */
const char *scratch_dir(void);
void scratch_path(const char *name, char out[PATH_MAX]);
/* @name may be in a directory that scratch_make_dir has made. */
void scratch_make_dir(const char *name);
void scratch_write(const char *name, const void *data, size_t size);
/* Appended to @out; its size. */
size_t scratch_read(const char *name, struct sr_buf *out);
/* All files in @name, a directory, but not directories. */
void scratch_empty(const char *name);
/* One for the process, made at the first call. */
const struct sr_keyring *scratch_keyring(void);

#endif
