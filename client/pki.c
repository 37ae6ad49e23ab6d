/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom pki: a small certificate authority in a directory, enough to run a cluster. Whoever
 * has an authority already gives the daemon its certificates instead.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/certificate.h"
#include "client/commands.h"

#define PATH_BYTES_MAX 4096
#define CA_DAYS        3650
#define LEAF_DAYS      825
#define DAYS_MAX       36500

static void print_help(void)
{
    puts(
        "usage: strongroom pki ca     --dir DIR [--days N]\n"
        "       strongroom pki node   --dir DIR NAME [--dns NAME]... [--ip ADDRESS]... [--days N]\n"
        "       strongroom pki client --dir DIR NAME [--days N]\n"
        "\n"
        "  ca       make a certificate authority: DIR/ca.crt and DIR/ca.key\n"
        "  node     make DIR/NAME.crt and DIR/NAME.key for the member NAME; clients reach it\n"
        "           under NAME and whatever --dns and --ip add\n"
        "  client   make DIR/NAME.crt and DIR/NAME.key for a caller that is known as NAME\n"
        "\n"
        "ECDSA P-256, valid for 3650 days (ca) or 825. Key files have mode 0600. Nothing that\n"
        "exists is overwritten. Move ca.key off the machine once the certificates are made.");
}

static bool is_of(const char *text, const char *alphabet, size_t max)
{
    size_t size = strlen(text);
    return size >= 1 && size <= max && strspn(text, alphabet) == size && text[0] != '-' &&
           text[0] != '.';
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static int misused(const char *what, const char *value)
{
    fprintf(stderr, "strongroom pki: %s: %s\n", value, what);
    return EXIT_USAGE;
}

struct arguments {
    const char *dir;
    struct sr_certificate_request request;
    bool has_names; /* --dns or --ip was given */
};

static int add_option(struct arguments *arguments, int option, const char *value)
{
    struct sr_certificate_request *request = &arguments->request;
    char *end = NULL;
    unsigned long days = 0;
    switch (option) {
    case 'd':
        arguments->dir = value;
        return EXIT_DONE;
    case 'n':
        if (!is_of(value, LOWER UPPER DIGITS "-.", 253)) {
            return misused("not a DNS name", value);
        }
        if (request->dns_count + 1 >= SR_SAN_MAX) { /* one is for the node's own name */
            return misused("too many names", value);
        }
        arguments->has_names = true;
        request->dns_names[request->dns_count++] = value;
        return EXIT_DONE;
    case 'i':
        if (request->address_count == SR_SAN_MAX) {
            return misused("too many addresses", value);
        }
        arguments->has_names = true;
        request->addresses[request->address_count++] = value;
        return EXIT_DONE;
    case 'y':
        days = strtoul(value, &end, 10);
        request->days = days <= DAYS_MAX ? (unsigned)days : 0;
        return *end == 0 && request->days >= 1
                   ? EXIT_DONE
                   : misused("not a number of days from 1 to 36500", value);
    default:
        return EXIT_USAGE;
    }
}

/* The words that are not options: what to make, and for whom. */
static int add_words(struct arguments *arguments, int argc, char **argv)
{
    struct sr_certificate_request *request = &arguments->request;
    const char *kind = argc > 0 ? argv[0] : "";
    const char *name = argc > 1 ? argv[1] : NULL;
    if (strcmp(kind, "ca") == 0 && argc == 1) {
        request->kind = SR_CERTIFICATE_CA;
        request->common_name = "Strongroom CA";
    } else if (strcmp(kind, "node") == 0 && argc == 2) {
        request->kind = SR_CERTIFICATE_NODE;
        if (!is_of(name, LOWER DIGITS "-", 63)) {
            return misused("a member's name is 1 to 63 of a-z, 0-9 and '-'", name);
        }
        request->common_name = name;
        request->dns_names[request->dns_count++] = name;
    } else if (strcmp(kind, "client") == 0 && argc == 2) {
        request->kind = SR_CERTIFICATE_CLIENT;
        if (!is_of(name, LOWER UPPER DIGITS "-._@", 64)) {
            return misused("a client's name is 1 to 64 of letters, digits and -._@", name);
        }
        request->common_name = name;
    } else {
        fprintf(stderr, "strongroom pki: ca, node NAME or client NAME; --help has more\n");
        return EXIT_USAGE;
    }
    if (arguments->has_names && request->kind != SR_CERTIFICATE_NODE) {
        fprintf(stderr, "strongroom pki: --dns and --ip are for nodes\n");
        return EXIT_USAGE;
    }
    if (name != NULL && strcmp(name, "ca") == 0) {
        return misused("the authority has this name", name);
    }
    return EXIT_DONE;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'}, {"dns", required_argument, NULL, 'n'},
        {"ip", required_argument, NULL, 'i'},  {"days", required_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},      {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            exit(EXIT_DONE);
        }
        int code = add_option(arguments, option, optarg);
        if (code != EXIT_DONE) {
            return code;
        }
    }
    int code = add_words(arguments, argc - optind, argv + optind);
    if (code == EXIT_DONE && arguments->dir == NULL) {
        fprintf(stderr, "strongroom pki: --dir DIR is required\n");
        return EXIT_USAGE;
    }
    return code;
}

static int failed(const struct sr_err *err)
{
    fprintf(stderr, "strongroom pki: %s\n", err->text);
    return EXIT_FAILED;
}

int command_pki(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = parse(argc, argv, &arguments);
    if (code != EXIT_DONE) {
        return code;
    }
    struct sr_certificate_request *request = &arguments.request;
    bool is_ca = request->kind == SR_CERTIFICATE_CA;
    if (request->days == 0) {
        request->days = is_ca ? CA_DAYS : LEAF_DAYS;
    }
    struct sr_err err = {0};
    char paths[4][PATH_BYTES_MAX];
    const char *stem = is_ca ? "ca" : request->common_name;
    if (strlen(arguments.dir) + strlen(stem) + sizeof("/.crt") > PATH_BYTES_MAX) {
        return misused("too long", arguments.dir);
    }
    snprintf(paths[0], PATH_BYTES_MAX, "%s/%s.crt", arguments.dir, stem);
    snprintf(paths[1], PATH_BYTES_MAX, "%s/%s.key", arguments.dir, stem);
    snprintf(paths[2], PATH_BYTES_MAX, "%s/ca.crt", arguments.dir);
    snprintf(paths[3], PATH_BYTES_MAX, "%s/ca.key", arguments.dir);
    request->ca_certificate = paths[2];
    request->ca_key = paths[3];
    mkdir(arguments.dir, 0700); /* when it fails for a reason that matters, so does the next step */
    if (sr_certificate_make(request, paths[0], paths[1], &err) != SR_OK) {
        return failed(&err);
    }
    printf("%s\n%s\n", paths[0], paths[1]);
    return EXIT_DONE;
}
