/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"

static int read_all(int fd, const char *path, char *text, size_t *ret_size, struct sr_err *err)
{
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, text + size, SR_CREDENTIALS_TEXT_MAX - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return sr_err_errno(err, SR_NOT_FOUND, errno, "credentials file %s", path);
        }
        size += (size_t)got;
        if (got == 0) {
            *ret_size = size;
            return SR_OK;
        }
        if (size == SR_CREDENTIALS_TEXT_MAX) {
            return sr_err_set(err, SR_INVALID, "credentials file %s: too large", path);
        }
    }
}

static int read_file(const char *path, char *text, size_t *ret_size, struct sr_err *err)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_REFUSED, errno,
                            "credentials file %s", path);
    }
    int status = SR_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = sr_err_set(err, SR_INVALID, "credentials file %s: not a file", path);
    } else if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        status = sr_err_set(err, SR_REFUSED,
                            "credentials file %s: mode %04o lets others at it; run: chmod 0600 %s",
                            path, (unsigned)info.st_mode & 07777u, path);
    } else {
        status = read_all(fd, path, text, ret_size, err);
    }
    close(fd);
    return status;
}

static int take(char *out, size_t size_max, const char *name, struct sr_err *err)
{
    const char *value = getenv(name);
    if (value != NULL && strlen(value) >= size_max) {
        return sr_err_set(err, SR_INVALID, "%s is too long", name);
    }
    (void)snprintf(out, size_max, "%s", value == NULL ? "" : value);
    return SR_OK;
}

static int from_environment(struct sr_credentials *ret, struct sr_err *err)
{
    int status = take(ret->access_key, sizeof(ret->access_key), "AWS_ACCESS_KEY_ID", err);
    if (status == SR_OK) {
        status = take(ret->secret_key, sizeof(ret->secret_key), "AWS_SECRET_ACCESS_KEY", err);
    }
    if (status == SR_OK) {
        status = take(ret->session_token, sizeof(ret->session_token), "AWS_SESSION_TOKEN", err);
    }
    if (status == SR_OK && (ret->access_key[0] == 0 || ret->secret_key[0] == 0)) {
        status = sr_err_set(err, SR_NOT_FOUND,
                            "neither a credentials file nor a command is configured, and the "
                            "environment has no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    return status;
}

static int from_text(const struct sr_credentials_source *source, struct sr_credentials *ret,
                     struct sr_err *err)
{
    size_t size = 0;
    char *text = sr_secret_alloc(SR_CREDENTIALS_TEXT_MAX);
    const char *profile = source->profile == NULL ? "default" : source->profile;
    int status = source->file != NULL
                     ? read_file(source->file, text, &size, err)
                     : sr_credentials_run(source->command, source->cancelled, text, &size, err);
    if (status == SR_OK) {
        status = sr_credentials_parse(text, size, profile, ret, err);
        if (status != SR_OK) {
            sr_err_prefix(err, "credentials %s",
                          source->file != NULL ? source->file : "that the command printed");
        }
    }
    sr_secret_free(text, SR_CREDENTIALS_TEXT_MAX);
    return status;
}

int sr_credentials_load(const struct sr_credentials_source *source, struct sr_credentials *ret,
                        struct sr_err *err)
{
    struct sr_credentials *fresh = sr_secret_alloc(sizeof(*fresh));
    int status = source->file != NULL || source->command != NULL ? from_text(source, fresh, err)
                                                                 : from_environment(fresh, err);
    if (status == SR_OK) {
        memcpy(ret, fresh, sizeof(*ret));
    }
    sr_secret_free(fresh, sizeof(*fresh));
    return status;
}
