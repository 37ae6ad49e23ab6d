/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom keygen: a master key (KEK) for one node, straight into a file that only its owner
 * may read. It never passes through a terminal, a pipe or an argument.
 *
 * strongroom keygen --recovery: a recovery key. Its public half goes into a file, for the nodes;
 * the private half is printed once, for people, and is stored nowhere.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "client/commands.h"
#include "client/newfile.h"
#include "storage/archive_key.h"

#define KEK_BYTES 32

struct kek {
    uint8_t bytes[KEK_BYTES];
    char text[2 * KEK_BYTES + 1]; /* hexadecimal, and a newline instead of the 0 */
};

static void print_help(void)
{
    puts("usage: strongroom keygen [--out FILE]\n"
         "       strongroom keygen --recovery [--out FILE]\n"
         "\n"
         "Writes a new random master key, 64 hexadecimal digits, to FILE (default: kek) with\n"
         "mode 0400. An existing file is never overwritten. Keep a copy off the machine: without\n"
         "its master key a node's data cannot be read.\n"
         "\n"
         "  --recovery   make a recovery key instead: the public half goes to FILE (default:\n"
         "               recovery.pub), for offsite.recovery_keys of every node; the private half\n"
         "               is printed to standard output, once, and stored nowhere. Whoever has it\n"
         "               can read every archive that was sealed for it, without any node; without\n"
         "               it, and without the cluster, nobody can.");
}

static int draw(struct kek *kek, struct sr_err *err)
{
    size_t used = 0;
    while (used < KEK_BYTES) {
        ssize_t n = getrandom(kek->bytes + used, KEK_BYTES - used, 0);
        if (n < 0 && errno != EINTR) {
            return sr_err_errno(err, SR_CRYPTO, errno, "no random numbers");
        }
        used += n > 0 ? (size_t)n : 0;
    }
    static const char digits[] = "0123456789abcdef";
    char *text = kek->text;
    for (size_t i = 0; i < KEK_BYTES; i++) {
        *text++ = digits[kek->bytes[i] >> 4];
        *text++ = digits[kek->bytes[i] & 15];
    }
    *text = '\n';
    return SR_OK;
}

static int write_kek(const char *path)
{
    struct sr_err err = {0};
    struct kek *kek = sr_secret_alloc(sizeof(*kek));
    int status = draw(kek, &err);
    if (status == SR_OK) {
        status = sr_newfile_write(path, 0400, kek->text, sizeof(kek->text), &err);
    }
    sr_secret_free(kek, sizeof(*kek));
    if (status != SR_OK) {
        fprintf(stderr, "strongroom keygen: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("%s: new master key\n", path);
    return EXIT_DONE;
}

/* ---- Recovery keys ---- */

/* The two lines; in secret memory. */
struct recovery_texts {
    char private_half[SR_RECOVERY_TEXT_CHARS_MAX + 1];
    char public_half[SR_RECOVERY_TEXT_CHARS_MAX + 1];
};

/* Past stdio, which would keep a copy in its buffer. */
static int print_private(const char *text, struct sr_err *err)
{
    size_t size = strlen(text);
    size_t written = 0;
    while (written < size) {
        ssize_t n = write(STDOUT_FILENO, text + written, size - written);
        if (n < 0 && errno != EINTR) {
            return sr_err_errno(err, SR_IO, errno, "print the private key");
        }
        written += n > 0 ? (size_t)n : 0;
    }
    return SR_OK;
}

/* There is room for it. */
static void end_line(char *text)
{
    memcpy(text + strlen(text), "\n", 2);
}

static int make_texts(struct recovery_texts *texts, struct sr_err *err)
{
    struct sr_recovery_private *key = NULL;
    int rc = sr_recovery_draw(&key, err);
    if (rc != SR_OK) {
        return rc;
    }
    sr_recovery_private_format(key, texts->private_half);
    sr_recovery_public_format(&key->public_half, texts->public_half);
    sr_recovery_private_free(key);
    end_line(texts->private_half);
    end_line(texts->public_half);
    return SR_OK;
}

/* The public half is on disk before the private one is shown: a key that is shown can be used. When
 * it cannot be shown, nothing is left that archives could be sealed for. */
static int write_recovery(const char *path)
{
    struct sr_err err = {0};
    struct recovery_texts *texts = sr_secret_alloc(sizeof(*texts));
    int rc = make_texts(texts, &err);
    if (rc == SR_OK) {
        rc = sr_newfile_write(path, 0444, texts->public_half, strlen(texts->public_half), &err);
    }
    if (rc == SR_OK) {
        rc = print_private(texts->private_half, &err);
        if (rc != SR_OK) {
            (void)unlink(path);
        }
    }
    sr_secret_free(texts, sizeof(*texts));
    if (rc != SR_OK) {
        fprintf(stderr, "strongroom keygen: %s\n", err.text);
        return EXIT_FAILED;
    }
    fprintf(stderr,
            "%s: the public half, for offsite.recovery_keys of every node.\n"
            "The line above is the private half. It is not stored anywhere and not shown again:\n"
            "keep it where the loss of all nodes does not reach it, and where few people do.\n",
            path);
    return EXIT_DONE;
}

int command_keygen(int argc, char **argv)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"recovery", no_argument, NULL, 'r'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = NULL;
    bool recovery = false;
    int option = 0;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        switch (option) {
        case 'o':
            path = optarg;
            break;
        case 'r':
            recovery = true;
            break;
        case 'h':
            print_help();
            return EXIT_DONE;
        default:
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "strongroom keygen: unexpected argument: %s\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (recovery) {
        return write_recovery(path != NULL ? path : "recovery.pub");
    }
    return write_kek(path != NULL ? path : "kek");
}
