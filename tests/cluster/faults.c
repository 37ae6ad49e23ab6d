/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fails, for LD_PRELOAD: calls on files fail as the lines of the file
 * $STRONGROOM_FAULTS say at the moment:
 *
 *   CALL SUBSTRING ERRNO      e.g.  fdatasync .seg 5
 *
 * CALL is write (all kinds), sync (all kinds), read or rename; SUBSTRING is of the file's path. A
 * call that fails does nothing at all.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* The error for @call on @path; 0: none. */
static int fault_of(const char *call, const char *path)
{
    const char *rules = getenv("STRONGROOM_FAULTS");
    FILE *file = rules == NULL ? NULL : fopen(rules, "re");
    char wanted[32];
    char part[256];
    int error = 0;
    int found = 0;

    if (file == NULL) {
        return 0;
    }
    while (found == 0 && fscanf(file, "%31s %255s %d", wanted, part, &error) == 3) {
        if (strcmp(wanted, call) == 0 && strstr(path, part) != NULL) {
            found = error;
        }
    }
    fclose(file);
    return found;
}

static int fails(const char *call, int fd)
{
    char link[64];
    char path[4096];
    int saved = errno;
    int error;
    ssize_t size;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof(path) - 1);
    if (size < 0) {
        errno = saved;
        return 0;
    }
    path[size] = '\0';
    error = path[0] == '/' ? fault_of(call, path) : 0;
    errno = error != 0 ? error : saved;
    return error != 0;
}

/* The one behind ours. ISO C has no way from an object pointer to a function pointer. */
#define REAL(type, name)                                                                           \
    static type real;                                                                              \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

#define WRITE(name, type, parameters, arguments)                                                   \
    ssize_t name parameters;                                                                       \
    ssize_t name parameters                                                                        \
    {                                                                                              \
        REAL(type, name);                                                                          \
        return fails("write", fd) ? -1 : real arguments;                                           \
    }

typedef ssize_t (*pwrite_type)(int, const void *, size_t, off_t);
typedef ssize_t (*pwritev_type)(int, const struct iovec *, int, off_t);
typedef ssize_t (*writev_type)(int, const struct iovec *, int);
typedef ssize_t (*pread_type)(int, void *, size_t, off_t);
typedef int (*sync_type)(int);
typedef int (*rename_type)(int, const char *, int, const char *);

WRITE(pwrite, pwrite_type, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITE(pwrite64, pwrite_type, (int fd, const void *data, size_t size, off_t at),
      (fd, data, size, at))
WRITE(pwritev, pwritev_type, (int fd, const struct iovec *parts, int count, off_t at),
      (fd, parts, count, at))
WRITE(pwritev64, pwritev_type, (int fd, const struct iovec *parts, int count, off_t at),
      (fd, parts, count, at))
WRITE(writev, writev_type, (int fd, const struct iovec *parts, int count), (fd, parts, count))

#define READ(name)                                                                                 \
    ssize_t name(int fd, void *data, size_t size, off_t at);                                       \
    ssize_t name(int fd, void *data, size_t size, off_t at)                                        \
    {                                                                                              \
        REAL(pread_type, name);                                                                    \
        return fails("read", fd) ? -1 : real(fd, data, size, at);                                  \
    }
READ(pread)
READ(pread64)

#define SYNC(name)                                                                                 \
    int name(int fd);                                                                              \
    int name(int fd)                                                                               \
    {                                                                                              \
        REAL(sync_type, name);                                                                     \
        return fails("sync", fd) ? -1 : real(fd);                                                  \
    }
SYNC(fdatasync)
SYNC(fsync)

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    REAL(rename_type, renameat);
    int error = fault_of("rename", to);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real(from_fd, from, to_fd, to);
}
