/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "node/admin/exposition.h"
#include "node/admin/metrics_page.h"

/* From proc(5): the fields of /proc/self/stat after the name, which may hold anything. */
enum { STAT_THREADS = 17, STAT_START = 19, STAT_RSS = 21, STAT_FIELDS = 22 };

static size_t read_stat(long long fields[STAT_FIELDS])
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return 0;
    }
    size_t size = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[size] = 0;
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == 0) {
        return 0;
    }
    at += 3; /* over the state, a letter: field 0 */
    size_t count = 1;
    fields[0] = 0;
    while (count < STAT_FIELDS) {
        char *end = NULL;
        fields[count] = strtoll(at, &end, 10);
        if (end == at) {
            break;
        }
        at = end;
        count++;
    }
    return count;
}

static long long count_open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL) {
        return -1;
    }
    long long count = -1; /* the one that looks */
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void put_cpu(struct sr_buf *page)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return;
    }
    sr_exposition_header(page, "process_cpu_seconds_total", "CPU time used, user and system.",
                         SR_FAMILY_COUNTER);
    sr_exposition_real(page, "process_cpu_seconds_total", "",
                       seconds(usage.ru_utime) + seconds(usage.ru_stime));
}

/* The stat file counts from boot; the wall clock may have been set since, so ask both now. */
static double start_time(long long ticks_after_boot)
{
    struct timespec wall;
    struct timespec boot;
    if (clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0) {
        return 0;
    }
    double booted =
        (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
    return booted + (double)ticks_after_boot / (double)sysconf(_SC_CLK_TCK);
}

static void put_stat(struct sr_buf *page)
{
    long long fields[STAT_FIELDS];
    if (read_stat(fields) != STAT_FIELDS) {
        return;
    }
    sr_exposition_single(page, "process_resident_memory_bytes", "Memory in RAM.", SR_FAMILY_GAUGE,
                         fields[STAT_RSS] * sysconf(_SC_PAGESIZE));
    sr_exposition_single(page, "process_threads", "Threads.", SR_FAMILY_GAUGE,
                         fields[STAT_THREADS]);
    sr_exposition_header(page, "process_start_time_seconds", "When it started, since 1970.",
                         SR_FAMILY_GAUGE);
    sr_exposition_integer(page, "process_start_time_seconds", "",
                          (long long)start_time(fields[STAT_START]));
}

static void put_files(struct sr_buf *page)
{
    struct rlimit limit;
    sr_exposition_single(page, "process_open_fds", "Open file descriptors.", SR_FAMILY_GAUGE,
                         count_open_files());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        sr_exposition_single(page, "process_max_fds", "How many may be open.", SR_FAMILY_GAUGE,
                             (long long)limit.rlim_cur);
    }
}

void sr_process_metrics(struct sr_buf *page)
{
    put_cpu(page);
    put_stat(page);
    put_files(page);
}
