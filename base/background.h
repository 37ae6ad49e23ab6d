/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads whose work can wait: they take what processor and disk time the others leave.
 */
#ifndef SR_BASE_BACKGROUND_H
#define SR_BASE_BACKGROUND_H

/* Put the calling thread behind the others of this machine, for good: nice 10, and the idle class
 * of the disk's scheduler, where it has one (mq-deadline, bfq; they see to it that it is not
 * starved). A system that refuses leaves it as it was. Not for a thread that holds locks which
 * others wait for. */
void sr_background_thread(void);

#endif
