/* SPDX-License-Identifier: Apache-2.0
 *
 * A command that prints credentials: its own process group, its output through a pipe into secret
 * memory, killed when it takes too long.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "node/offsite/credentials.h"

#define PATIENCE_NS ((uint64_t)30 * 1000 * 1000 * 1000)
#define NAP_MS      100

extern char **environ;

static int spawn(const char *command, int output, pid_t *ret, struct sr_err *err)
{
    char *text = sr_strdup(command);
    char *const arguments[] = {(char[]){"sh"}, (char[]){"-c"}, text, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t usual;
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE); /* the node ignores it, a shell's pipes live by it */
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addclosefrom_np(&actions, 3); /* a library's sockets, too */
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none); /* a worker blocks what is the node's */
    posix_spawnattr_setsigdefault(&attributes, &usual);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    int number = posix_spawn(ret, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    sr_free(text);
    return number == 0 ? SR_OK
                       : sr_err_errno(err, SR_REFUSED, number, "start the credentials command");
}

/* Whether to go on waiting for it. */
static int check_patience(uint64_t deadline_ns, const atomic_bool *cancelled, struct sr_err *err)
{
    if (cancelled != NULL && atomic_load(cancelled)) {
        return sr_err_set(err, SR_CLOSED, "the node stops");
    }
    if (sr_clock_monotonic_ns() > deadline_ns) {
        return sr_err_set(err, SR_TIMEOUT, "the credentials command took more than 30 s");
    }
    return SR_OK;
}

static int read_output(int fd, uint64_t deadline_ns, const atomic_bool *cancelled, char *text,
                       size_t *ret_size, struct sr_err *err)
{
    size_t size = 0;
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int status = check_patience(deadline_ns, cancelled, err);
        if (status != SR_OK) {
            return status;
        }
        if (poll(&wait, 1, NAP_MS) <= 0) {
            continue;
        }
        ssize_t got = read(fd, text + size, SR_CREDENTIALS_TEXT_MAX - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            *ret_size = size;
            return SR_OK;
        }
        size += (size_t)got;
        if (size == SR_CREDENTIALS_TEXT_MAX) {
            return sr_err_set(err, SR_LIMIT, "the credentials command prints too much");
        }
    }
}

/* Wait until it has ended; one that is not wanted any more gets no time to think about it. */
static int reap(pid_t child, int status, uint64_t deadline_ns, const atomic_bool *cancelled,
                struct sr_err *err)
{
    int how = 0;
    pid_t ended = 0;
    while (status == SR_OK && (ended = waitpid(child, &how, WNOHANG)) == 0) {
        poll(NULL, 0, NAP_MS / 10);
        status = check_patience(deadline_ns, cancelled, err);
    }
    if (status != SR_OK) {
        kill(-child, SIGKILL);
        while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
        }
        return status;
    }
    if (ended < 0) {
        return sr_err_errno(err, SR_REFUSED, errno, "credentials command");
    }
    if (WIFSIGNALED(how)) {
        return sr_err_set(err, SR_REFUSED, "the credentials command died of signal %d",
                          WTERMSIG(how));
    }
    if (WEXITSTATUS(how) != 0) {
        return sr_err_set(err, SR_REFUSED, "the credentials command failed with exit code %d",
                          WEXITSTATUS(how));
    }
    return SR_OK;
}

int sr_credentials_run(const char *command, const atomic_bool *cancelled, char *text,
                       size_t *ret_size, struct sr_err *err)
{
    uint64_t deadline_ns = sr_clock_monotonic_ns() + PATIENCE_NS;
    int ends[2];
    pid_t child = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return sr_err_errno(err, SR_REFUSED, errno, "credentials command");
    }
    int status = spawn(command, ends[1], &child, err);
    close(ends[1]);
    if (status == SR_OK) {
        status = read_output(ends[0], deadline_ns, cancelled, text, ret_size, err);
        status = reap(child, status, deadline_ns, cancelled, err);
    }
    close(ends[0]);
    return status;
}
