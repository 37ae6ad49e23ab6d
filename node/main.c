/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroomd: one node of a Strongroom cluster.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "node/cluster/join.h"
#include "node/node.h"

/* Exit codes, so that a supervisor can tell what is worth a restart. */
enum {
    EXIT_STOPPED = 0,
    EXIT_FAILED = 1,
    EXIT_CONFIG = 2,
    EXIT_REMOVED = 3,
    EXIT_DAMAGED = 4,
    EXIT_DISK = 5
};

#define TRIES_A_WORD 60 /* of a start without space */

static struct sr_node *running; /* for the signal handler; NULL between two lives */
static volatile sig_atomic_t is_stop_asked;

static void on_signal(int number)
{
    (void)number;
    is_stop_asked = 1;
    if (running != NULL) {
        sr_node_ask_stop(running);
    }
}

/* LMDB's file is mapped: a page that the disk does not give comes as this signal, on whatever
 * thread wanted it. There is no way back from it. */
static void on_lost_page(int number)
{
    static const char text[] =
        "level=fatal part=node msg=\"stopped serving\" reason=\"a page of the database cannot be "
        "read: the disk failed, or the file was cut\" advice=\"see to the disk before starting "
        "this "
        "node again\" exit_code=5\n";
    (void)number;
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written;
    _exit(EXIT_DISK);
}

/* A sanitizer says more about a crash than we could. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void handle_crashes(void)
{
}
#else
/* LMDB believes the structure of its pages; when it changes on the disk under it, this may come of
 * it. It may as well be a bug, so the signal goes on to make a core of it. */
static void on_crash(int number)
{
    static const char text[] =
        "level=fatal part=node msg=\"crashed\" reason=\"invalid memory access: a bug, or pages of "
        "the database that changed under it\" advice=\"the next start checks the database\"\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)written;
    raise(number); /* with its default action: SA_RESETHAND */
}

static void handle_crashes(void)
{
    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};
    sr_check(sigaction(SIGSEGV, &crash, NULL) == 0);
}
#endif

static void handle_lost_pages(void)
{
    struct sigaction lost = {.sa_handler = on_lost_page};
    sr_check(sigaction(SIGBUS, &lost, NULL) == 0);
    handle_crashes();
}

static void handle_signals(void)
{
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    sr_check(sigaction(SIGTERM, &stop, NULL) == 0);
    sr_check(sigaction(SIGINT, &stop, NULL) == 0);
}

static void ignore_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sr_check(sigaction(SIGPIPE, &ignore, NULL) == 0);
    sr_check(sigaction(SIGHUP, &ignore, NULL) == 0);
}

static void print_help(void)
{
    puts("usage: strongroomd --config FILE [--check]\n"
         "\n"
         "Runs one node of a Strongroom cluster until SIGTERM or SIGINT.\n"
         "\n"
         "  --config FILE   the node's configuration; deploy/strongroom.yaml documents it\n"
         "  --check         read and check the configuration, then exit\n"
         "  --version       print the version\n"
         "  --help          print this\n"
         "\n"
         "Exit codes: 0 stopped as asked, 1 failed (the last log line says why),\n"
         "2 wrong usage or configuration, 3 removed from the cluster: do not start it again,\n"
         "4 the data of this node is damaged: rebuild it from its peers,\n"
         "5 its disk failed: find out why before starting it again.");
}

struct arguments {
    const char *config;
    bool check;
};

/* -1 to go on, otherwise the exit code. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"version", no_argument, NULL, 'v'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config = optarg;
            break;
        case 'k':
            arguments->check = true;
            break;
        case 'v':
            puts("strongroomd " STRONGROOM_VERSION);
            return EXIT_STOPPED;
        case 'h':
            print_help();
            return EXIT_STOPPED;
        default:
            return EXIT_CONFIG;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "strongroomd: unexpected argument: %s\n", argv[optind]);
        return EXIT_CONFIG;
    }
    if (arguments->config == NULL) {
        fprintf(stderr, "strongroomd: --config FILE is required; --help has more\n");
        return EXIT_CONFIG;
    }
    return -1;
}

/* What @err means for whoever has to act; logs it as the last word on why. */
static int exit_code(const char *what, const struct sr_err *err)
{
    int code = EXIT_FAILED;
    const char *advice = "";
    if (err->status == SR_REMOVED) {
        code = EXIT_REMOVED;
    } else if (err->status == SR_CORRUPT) {
        code = EXIT_DAMAGED;
        advice = " advice=\"the data of this node is damaged: rebuild it from its peers with "
                 "strongroom rebuild\"";
    } else if (err->status == SR_IO) {
        code = EXIT_DISK;
        advice = " advice=\"see to the disk before starting this node again\"";
    }
    sr_log(SR_LOG_FATAL, "node", what, "reason=\"%s\"%s exit_code=%d", err->text, advice, code);
    return code;
}

/* A disk without space is waited for, as it is by a node that runs (decision 0015). NULL with
 * SR_OK: asked to stop meanwhile. */
static int start(const struct sr_config *config, struct sr_node **ret, struct sr_err *err)
{
    const struct timespec pause = {.tv_sec = 1};
    for (unsigned tries = 0; !is_stop_asked; tries++) {
        int status = sr_node_start(config, ret, err);
        if (status != SR_NO_SPACE) {
            return status;
        }
        if (tries % TRIES_A_WORD == 0) {
            sr_log(SR_LOG_ERROR, "node", "disk full: the start waits for space",
                   "reason=\"%s\" advice=\"make room on the disk of data_dir\"", err->text);
        }
        nanosleep(&pause, NULL); /* a signal ends it */
    }
    return SR_OK;
}

/* One life of the node, from start to stop. */
static int live(const struct sr_config *config, bool *ret_restart)
{
    struct sr_err err = {0};
    struct sr_node *node = NULL;
    if (start(config, &node, &err) != SR_OK) {
        return exit_code("cannot start", &err);
    }
    if (node == NULL) {
        sr_log(SR_LOG_INFO, "node", "stopped", "");
        return EXIT_STOPPED;
    }
    running = node;
    if (is_stop_asked) { /* before there was somebody to tell */
        sr_node_ask_stop(node);
    }
    int status = sr_node_wait(node, ret_restart, &err);
    int code = status == SR_OK ? EXIT_STOPPED : exit_code("stopped serving", &err);
    running = NULL;
    sr_node_stop(node);
    if (status == SR_OK) {
        sr_log(SR_LOG_INFO, "node", *ret_restart ? "stopped to start anew" : "stopped", "");
    }
    return code;
}

static int run(struct sr_config *config)
{
    struct sr_err err = {0};
    if (sr_join(config, &err) != SR_OK) {
        return exit_code("cannot join", &err);
    }
    handle_signals();
    for (;;) {
        bool restart = false;
        int code = live(config, &restart);
        if (!restart || is_stop_asked) {
            return code;
        }
    }
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = parse(argc, argv, &arguments);
    if (code >= 0) {
        return code;
    }
    umask(077);
    ignore_signals();
    sr_secret_protect_process();
    handle_lost_pages();

    struct sr_err err = {0};
    struct sr_config *config = NULL;
    if (sr_config_load(arguments.config, &config, &err) != SR_OK) {
        fprintf(stderr, "strongroomd: %s\n", err.text);
        return EXIT_CONFIG;
    }
    if (arguments.check) {
        printf("%s: ok\n", arguments.config);
        code = EXIT_STOPPED;
    } else {
        sr_log_init(config->log.level, config->log.format, config->name);
        code = run(config);
    }
    sr_config_free(config);
    return code;
}
