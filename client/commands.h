/* SPDX-License-Identifier: Apache-2.0
 *
 * The subcommands of `strongroom`. Each gets its own argv, with its name as argv[0], and returns
 * the process's exit code.
 */
#ifndef SR_CLIENT_COMMANDS_H
#define SR_CLIENT_COMMANDS_H

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_keygen(int argc, char **argv);
int command_pki(int argc, char **argv);
int command_member(int argc, char **argv);
int command_status(int argc, char **argv);
/* A subcommand of member, with a file of its own: argv[0] is its name. */
int command_member_wait(int argc, char **argv);
int command_rebuild(int argc, char **argv);
int command_recover(int argc, char **argv);
int command_check(int argc, char **argv);
int command_drain(int argc, char **argv);
int command_move_leader(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_snapshot(int argc, char **argv);
int command_drill(int argc, char **argv);
int command_verify(int argc, char **argv);

#endif
