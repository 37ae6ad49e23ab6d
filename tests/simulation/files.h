/* SPDX-License-Identifier: Apache-2.0
 *
 * Directories of a simulation.
 */
#ifndef SR_TESTS_SIMULATION_FILES_H
#define SR_TESTS_SIMULATION_FILES_H

void files_make_dir(const char *path);
/* With the files in it, but no directories. */
void files_remove_dir(const char *path);

#endif
