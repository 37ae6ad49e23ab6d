/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a node under test: its wall clock is off by as many nanoseconds as the first eight
 * bytes of the file STRONGROOM_CLOCK_SHIFT say, from one moment to the next. Its monotonic clock,
 * which no administrator can set, stays as it is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000

static const volatile int64_t *shift_ns;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STRONGROOM_CLOCK_SHIFT");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof(*shift_ns), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (page == MAP_FAILED) {
        fputs("clock_shift: STRONGROOM_CLOCK_SHIFT names no file of eight bytes\n", stderr);
        abort();
    }
    shift_ns = page;
    close(fd);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec now;
    syscall(SYS_clock_gettime, clock, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec + (shift_ns != NULL ? *shift_ns : 0);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) {
        return (int)syscall(SYS_clock_gettime, clock, ret);
    }
    int64_t now = now_ns(clock);
    *ret = (struct timespec){.tv_sec = now / NS_PER_S, .tv_nsec = now % NS_PER_S};
    return 0;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    (void)zone;
    int64_t now = now_ns(CLOCK_REALTIME);
    *ret = (struct timeval){.tv_sec = now / NS_PER_S, .tv_usec = now % NS_PER_S / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    time_t now = now_ns(CLOCK_REALTIME) / NS_PER_S;
    if (ret != NULL) {
        *ret = now;
    }
    return now;
}
