/* SPDX-License-Identifier: Apache-2.0
 *
 * A target by hand, and for the tests: does one thing and says what came of it.
 *
 *   target_tool URL [NAME=VALUE ...] COMMAND [ARGUMENT ...]
 *
 *   put OBJECT FILE [PIECE_BYTES]    from FILE, in pieces of that size
 *   get OBJECT FILE [OFFSET [SIZE]]
 *   head OBJECT | list PREFIX | remove OBJECT | probe | probe-writing | clean AGE_MS [PREFIX]
 *
 * NAME=VALUE: fields of struct sr_target_config; retain_until_ms and replace of a put;
 * regions_allowed with commas. Output: one line "object NAME SIZE MODIFIED_MS RETAIN_UNTIL_MS" for
 * each object, then "stats REQUESTS RETRIES SENT RECEIVED", then the name of the status, and on
 * the next line the sentence when it is not OK. Exit code 0, 1 when it failed, 2 for bad usage.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/offsite/target.h"

#define REGIONS_MAX 8

struct tool {
    struct sr_target_config config;
    struct sr_target_put_options options;
    const char *regions[REGIONS_MAX];
    char **arguments;
    int argument_count;
    struct sr_target *target;
};

static struct sr_target *to_cancel;

static const char *const status_names[] = {
#define X(name, text) #name,
    SR_STATUS(X)
#undef X
};

static void bad_usage(const char *what)
{
    fprintf(stderr, "target_tool: %s\n", what);
    exit(2);
}

/* ---- The configuration ---- */

static const char **text_field(struct tool *tool, const char *name)
{
    struct sr_target_config *config = &tool->config;
    const struct {
        const char *name;
        const char **field;
    } fields[] = {
        {"region", &config->region},
        {"endpoint", &config->endpoint},
        {"credentials_file", &config->credentials_file},
        {"credentials_command", &config->credentials_command},
        {"profile", &config->profile},
        {"storage_class", &config->storage_class},
        {"sse_kms_key", &config->sse_kms_key},
        {"proxy", &config->proxy},
        {"ca_file", &config->ca_file},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (strcmp(fields[i].name, name) == 0) {
            return fields[i].field;
        }
    }
    return NULL;
}

static bool set_number(struct tool *tool, const char *name, unsigned long long value)
{
    struct sr_target_config *config = &tool->config;
    if (strcmp(name, "bytes_per_second") == 0) {
        config->bytes_per_second = value;
    } else if (strcmp(name, "part_bytes") == 0) {
        config->part_bytes = value;
    } else if (strcmp(name, "parts_parallel") == 0) {
        config->parts_parallel = (unsigned)value;
    } else if (strcmp(name, "connect_timeout_ms") == 0) {
        config->connect_timeout_ms = (unsigned)value;
    } else if (strcmp(name, "stall_timeout_ms") == 0) {
        config->stall_timeout_ms = (unsigned)value;
    } else if (strcmp(name, "attempts") == 0) {
        config->attempts = (unsigned)value;
    } else if (strcmp(name, "lock") == 0) {
        config->lock = (enum sr_target_lock)value;
    } else if (strcmp(name, "sse") == 0) {
        config->sse = (enum sr_target_sse)value;
    } else if (strcmp(name, "checksum_sha256") == 0) {
        config->checksum_sha256 = value != 0;
    } else if (strcmp(name, "virtual_host") == 0) {
        config->virtual_host = value != 0;
    } else if (strcmp(name, "retain_until_ms") == 0) {
        tool->options.retain_until_ms = value;
    } else if (strcmp(name, "replace") == 0) {
        tool->options.replace = value != 0;
    } else {
        return false;
    }
    return true;
}

static void set_field(struct tool *tool, char *text)
{
    char *value = strchr(text, '=');
    *value++ = 0;
    const char **field = text_field(tool, text);
    if (field != NULL) {
        *field = value;
    } else if (strcmp(text, "regions_allowed") == 0) {
        for (char *region = strtok(value, ","); region != NULL; region = strtok(NULL, ",")) {
            if (tool->config.regions_allowed_count == REGIONS_MAX) {
                bad_usage("too many regions");
            }
            tool->regions[tool->config.regions_allowed_count++] = region;
        }
        tool->config.regions_allowed = tool->regions;
    } else if (!set_number(tool, text, strtoull(value, NULL, 10))) {
        bad_usage(text);
    }
}

static const char *argument(const struct tool *tool, int index, const char *otherwise)
{
    if (index < tool->argument_count) {
        return tool->arguments[index];
    }
    if (otherwise == NULL) {
        bad_usage("an argument is missing");
    }
    return otherwise;
}

static uint64_t number(const struct tool *tool, int index, const char *otherwise)
{
    return strtoull(argument(tool, index, otherwise), NULL, 10);
}

/* ---- Commands ---- */

static int show(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    (void)arg;
    (void)err;
    printf("object %s %llu %llu %llu\n", object->name, (unsigned long long)object->size,
           (unsigned long long)object->modified_ms, (unsigned long long)object->retain_until_ms);
    return SR_OK;
}

static int write_all(struct sr_target_put *put, int fd, size_t piece_bytes, struct sr_err *err)
{
    char *piece = sr_alloc(piece_bytes);
    int status = SR_OK;
    ssize_t got;
    while (status == SR_OK && (got = read(fd, piece, piece_bytes)) > 0) {
        status = sr_target_put_write(put, piece, (size_t)got, err);
    }
    sr_free(piece);
    return status;
}

static int do_put(struct tool *tool, struct sr_err *err)
{
    struct sr_target_put *put = NULL;
    struct sr_target_object object;
    int fd = open(argument(tool, 2, NULL), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        bad_usage("no such file");
    }
    int status =
        sr_target_put_begin(tool->target, argument(tool, 1, NULL), &tool->options, &put, err);
    if (status == SR_OK) {
        status = write_all(put, fd, number(tool, 3, "1048576"), err);
        if (status == SR_OK) {
            status = sr_target_put_finish(put, &object, err);
        } else {
            sr_target_put_abort(put);
        }
    }
    close(fd);
    return status == SR_OK ? show(NULL, &object, err) : status;
}

static int on_bytes(void *arg, const void *data, size_t size, struct sr_err *err)
{
    return fwrite(data, 1, size, arg) == size ? SR_OK : sr_err_set(err, SR_IO, "cannot write");
}

static int do_get(struct tool *tool, struct sr_err *err)
{
    FILE *out = fopen(argument(tool, 2, NULL), "we");
    if (out == NULL) {
        bad_usage("cannot write the file");
    }
    int status = sr_target_get(tool->target, argument(tool, 1, NULL), number(tool, 3, "0"),
                               number(tool, 4, "0"), on_bytes, out, err);
    if (fclose(out) != 0 && status == SR_OK) {
        status = sr_err_set(err, SR_IO, "cannot write");
    }
    return status;
}

static int run(struct tool *tool, struct sr_err *err)
{
    struct sr_target_object object;
    uint64_t count = 0;
    const char *command = argument(tool, 0, NULL);
    int status = SR_OK;
    if (strcmp(command, "put") == 0) {
        status = do_put(tool, err);
    } else if (strcmp(command, "get") == 0) {
        status = do_get(tool, err);
    } else if (strcmp(command, "list") == 0) {
        status = sr_target_list(tool->target, argument(tool, 1, ""), show, NULL, err);
    } else if (strcmp(command, "remove") == 0) {
        status = sr_target_remove(tool->target, argument(tool, 1, NULL), err);
    } else if (strcmp(command, "probe") == 0) {
        status = sr_target_probe(tool->target, false, err);
    } else if (strcmp(command, "probe-writing") == 0) {
        status = sr_target_probe(tool->target, true, err);
    } else if (strcmp(command, "head") == 0) {
        status = sr_target_head(tool->target, argument(tool, 1, NULL), &object, err);
        if (status == SR_OK) {
            show(NULL, &object, err);
        }
    } else if (strcmp(command, "clean") == 0) {
        status =
            sr_target_clean(tool->target, argument(tool, 2, ""), number(tool, 1, "0"), &count, err);
        printf("cleaned %llu\n", (unsigned long long)count);
    } else {
        bad_usage(command);
    }
    return status;
}

static void on_signal(int signal)
{
    (void)signal;
    sr_target_cancel(to_cancel);
}

int main(int argc, char **argv)
{
    struct tool tool = {.config.url = argc > 1 ? argv[1] : ""};
    struct sr_err err = {0};
    struct sr_target_stats stats = {0};
    int at = 2;
    for (; at < argc && strchr(argv[at], '=') != NULL; at++) {
        set_field(&tool, argv[at]);
    }
    tool.arguments = argv + at;
    tool.argument_count = argc - at;
    int status = sr_target_open(&tool.config, &tool.target, &err);
    if (status == SR_OK) {
        to_cancel = tool.target;
        signal(SIGTERM, on_signal);
        signal(SIGPIPE, SIG_IGN);
        status = run(&tool, &err);
        sr_target_stats(tool.target, &stats);
        signal(SIGTERM, SIG_DFL);
        sr_target_close(tool.target);
    }
    printf("stats %llu %llu %llu %llu\n%s\n", (unsigned long long)stats.requests,
           (unsigned long long)stats.retries, (unsigned long long)stats.sent_bytes,
           (unsigned long long)stats.received_bytes, status_names[status]);
    if (status != SR_OK) {
        printf("%s\n", err.text);
    }
    return status != SR_OK;
}
