/* SPDX-License-Identifier: Apache-2.0
 *
 * Run simulations, and say exactly how to run again what failed. See docs/simulation.md.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/simulation/files.h"
#include "tests/simulation/keys.h"
#include "tests/simulation/world.h"

struct run {
    struct world_options options;
    uint64_t seeds;
    bool check_twice; /* run each seed twice and compare the traces */
    double seconds;   /* 0: as many seeds as asked for */
    const char *program;
};

struct totals {
    uint64_t seeds;
    uint64_t failed;
    struct world_summary sum;
};

static const char usage[] =
    "usage: simulate --seed N [--seeds COUNT | --seconds S] [--nodes 3|5] [--ms T] [--trace]\n"
    "                [--twice] [--guards-off MASK] [--bugs MASK] [--logs]\n"
    "  --seed N        the first seed (1)\n"
    "  --seeds COUNT   how many, one after the other (1)\n"
    "  --seconds S     as many as that takes, by the clock on the wall\n"
    "  --nodes N       members (by the seed: 3 or 5)\n"
    "  --ms T          virtual milliseconds of trouble (10000)\n"
    "  --trace         print every event\n"
    "  --twice         run each seed twice: the traces must be the same\n"
    "  --guards-off M  without fences of the core: bits of enum sr_core_guard\n"
    "  --bugs M        with bugs planted: bits of enum world_bug\n"
    "  --logs          print what the members log\n";

/* Kept for when an assertion of the product ends the process. */
static char replay[512];
static char directory[64];

static void describe_replay(const struct run *run, const struct world_options *options)
{
    snprintf(replay, sizeof(replay),
             "replay: %s --seed %llu --nodes %zu --ms %u%s%.0u%s%.0u --trace\n", run->program,
             (unsigned long long)options->seed, options->members, options->ms,
             options->guards_off != 0 ? " --guards-off " : "", options->guards_off,
             options->bugs != 0 ? " --bugs " : "", options->bugs);
}

static void on_abort(int number)
{
    ssize_t written = write(STDERR_FILENO, replay, strlen(replay));
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static bool make_directory(void)
{
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%.30s/simulate-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(directory) != NULL;
}

static uint64_t number_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = strtoull(text, &end, 0);
    if (errno != 0 || *text == 0 || *end != 0) {
        fprintf(stderr, "simulate: not a number: %s\n%s", text, usage);
        exit(2);
    }
    return number;
}

static struct run run_of(int argc, char **argv)
{
    static const struct option known[] = {
        {"seed", required_argument, NULL, 's'},
        {"seeds", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 'w'},
        {"nodes", required_argument, NULL, 'n'},
        {"ms", required_argument, NULL, 'm'},
        {"trace", no_argument, NULL, 't'},
        {"twice", no_argument, NULL, '2'},
        {"logs", no_argument, NULL, 'l'},
        {"guards-off", required_argument, NULL, 'g'},
        {"bugs", required_argument, NULL, 'b'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct run run = {.options = {.seed = 1, .ms = 10000}, .seeds = 1, .program = argv[0]};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 's':
            run.options.seed = number_of(optarg);
            break;
        case 'c':
            run.seeds = number_of(optarg);
            break;
        case 'w':
            run.seconds = (double)number_of(optarg);
            break;
        case 'n':
            run.options.members = number_of(optarg);
            break;
        case 'm':
            run.options.ms = (unsigned)number_of(optarg);
            break;
        case 't':
            run.options.trace = true;
            break;
        case '2':
            run.check_twice = true;
            break;
        case 'l':
            sr_log_init(SR_LOG_DEBUG, SR_LOG_LOGFMT, NULL);
            break;
        case 'g':
            run.options.guards_off = (uint32_t)number_of(optarg);
            break;
        case 'b':
            run.options.bugs = (uint32_t)number_of(optarg);
            break;
        default:
            fputs(usage, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (optind != argc || run.options.members > WORLD_MEMBERS_MAX) {
        fputs(usage, stderr);
        exit(2);
    }
    return run;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void add(struct totals *totals, const struct world_summary *summary)
{
    totals->seeds++;
    totals->sum.virtual_ms += summary->virtual_ms;
    totals->sum.acknowledged += summary->acknowledged;
    totals->sum.reads += summary->reads;
    totals->sum.unknown += summary->unknown;
    totals->sum.entries += summary->entries;
    totals->sum.starts += summary->starts;
    totals->sum.leaders += summary->leaders;
    totals->sum.faults += summary->faults;
    totals->sum.images += summary->images;
    totals->sum.changes += summary->changes;
}

static bool run_seed(const struct run *run, uint64_t seed, struct totals *totals)
{
    struct world_options options = run->options;
    struct world_summary summary;
    struct world_summary again;
    options.seed = seed;
    options.dir = directory;
    if (options.members == 0) {
        options.members = seed % 3 == 0 ? 5 : 3;
    }
    describe_replay(run, &options);
    bool good = world_run(&options, &summary);
    if (good && run->check_twice) {
        world_run(&options, &again);
        good = again.trace_hash == summary.trace_hash && again.trace_lines == summary.trace_lines;
        if (!good) {
            snprintf(summary.violation, sizeof(summary.violation),
                     "P5: the same seed gives %016llx, then %016llx",
                     (unsigned long long)summary.trace_hash, (unsigned long long)again.trace_hash);
        }
    }
    add(totals, &summary);
    if (!good) {
        totals->failed++;
        printf("seed %llu: %s\n%s", (unsigned long long)seed, summary.violation, replay);
        fflush(stdout);
    } else if (run->seeds == 1 && run->seconds == 0) {
        printf("seed %llu: trace %016llx of %llu lines\n", (unsigned long long)seed,
               (unsigned long long)summary.trace_hash, (unsigned long long)summary.trace_lines);
    }
    return good;
}

static void report(const struct totals *totals, double seconds)
{
    const struct world_summary *sum = &totals->sum;
    printf("%llu seeds, %llu failed: %llu operations acknowledged (%llu reads), %llu unknown, "
           "%llu entries applied, %llu starts, %llu leaders, %llu faults, %llu changes of members, "
           "%llu images, "
           "%.0f simulated seconds in %.1f (%.0f a second)\n",
           (unsigned long long)totals->seeds, (unsigned long long)totals->failed,
           (unsigned long long)sum->acknowledged, (unsigned long long)sum->reads,
           (unsigned long long)sum->unknown, (unsigned long long)sum->entries,
           (unsigned long long)sum->starts, (unsigned long long)sum->leaders,
           (unsigned long long)sum->faults, (unsigned long long)sum->changes,
           (unsigned long long)sum->images, (double)sum->virtual_ms / 1000, seconds,
           (double)sum->virtual_ms / 1000 / seconds);
}

int main(int argc, char **argv)
{
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    struct run run = run_of(argc, argv);
    struct totals totals = {0};
    if (!make_directory()) {
        fprintf(stderr, "simulate: cannot make %s: %s\n", directory, strerror(errno));
        return 2;
    }
    signal(SIGABRT, on_abort);
    signal(SIGSEGV, on_abort);
    signal(SIGBUS, on_abort);
    double start = now();
    for (uint64_t i = 0; run.seconds > 0 ? now() - start < run.seconds : i < run.seeds; i++) {
        run_seed(&run, run.options.seed + i, &totals);
    }
    report(&totals, now() - start);
    keys_close();
    rmdir(directory);
    return totals.failed == 0 && totals.seeds > 0 ? 0 : 1;
}
