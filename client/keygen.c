/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom keygen: a master key (KEK) for one node, straight into a file that only its owner
 * may read. It never passes through a terminal, a pipe or an argument.
 */
#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/secret.h"
#include "client/commands.h"
#include "client/newfile.h"

#define KEK_BYTES 32

struct kek {
    uint8_t bytes[KEK_BYTES];
    char text[2 * KEK_BYTES + 1]; /* hexadecimal, and a newline instead of the 0 */
};

static void print_help(void)
{
    puts("usage: strongroom keygen [--out FILE]\n"
         "\n"
         "Writes a new random master key, 64 hexadecimal digits, to FILE (default: kek) with\n"
         "mode 0400. An existing file is never overwritten. Keep a copy off the machine: without\n"
         "its master key a node's data cannot be read.");
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

int command_keygen(int argc, char **argv)
{
    static const struct option options[] = {{"out", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = "kek";
    int option = 0;
    while ((option = getopt_long(argc, argv, "o:h", options, NULL)) != -1) {
        switch (option) {
        case 'o':
            path = optarg;
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
    return write_kek(path);
}
