/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom member: who belongs to the cluster.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/secret.h"
#include "client/commands.h"
#include "client/members.h"
#include "client/newfile.h"

#define CLIENT_URLS_MAX 16

static void print_help(void)
{
    puts("usage: strongroom member list [--json] [OPTION]...\n"
         "       strongroom member add NAME --zone ZONE --peer-address HOST:PORT\n"
         "                             [--client-url URL]... [--learner] [--token-file FILE]\n"
         "                             [--force] [OPTION]...\n"
         "       strongroom member remove NAME|ID [--force] [OPTION]...\n"
         "       strongroom member update NAME|ID --peer-address HOST:PORT [--force] [OPTION]...\n"
         "       strongroom member promote NAME|ID [--force] [OPTION]...\n"
         "       strongroom member wait NAME|ID [--for SECONDS] [OPTION]...\n"
         "\n"
         "  list     print the members\n"
         "  add      make a place for a node and print the token that lets it take the place,\n"
         "           once. The node learns first, and votes as soon as it has caught up\n"
         "  remove   take a member out. Its node stops; its id never comes back\n"
         "  update   change the address where the other members reach a member\n"
         "  promote  let a learner vote\n"
         "  wait     until it runs, is what it is to be, and has caught up\n"
         "\n"
         "A change that would make the loss of one zone fatal is refused, with what would make it\n"
         "safe.\n"
         "\n"
         "  --learner            it stays a learner until `member promote`\n"
         "  --token-file FILE    write the token to FILE (new, mode 0600), and do not print it\n"
         "  --force              do it all the same; it is logged\n"
         "  --json               (list) the same for programs\n" REMOTE_HELP);
}

struct arguments {
    struct sr_remote remote;
    const char *member;
    const char *zone;
    const char *peer_address;
    char *client_urls[CLIENT_URLS_MAX];
    size_t client_url_count;
    const char *token_file;
    bool learner;
    bool force;
    bool json;
};

static int failed(const struct arguments *arguments, const struct sr_err *err)
{
    fprintf(stderr, "%s: %s\n", arguments->remote.command, err->text);
    return EXIT_FAILED;
}

static int misused(const struct arguments *arguments, const char *what)
{
    fprintf(stderr, "%s: %s; --help has more\n", arguments->remote.command, what);
    return EXIT_USAGE;
}

/* ---- list ---- */

static int list(struct arguments *arguments)
{
    struct sr_err err = {0};
    const Members *members = members_fetch(&arguments->remote, &err);
    if (members == NULL) {
        return failed(arguments, &err);
    }
    if (arguments->json) {
        members_print_json(members);
    } else {
        members_print_table(members);
    }
    return EXIT_DONE;
}

/* ---- add ---- */

/* The token is of no use to anybody before the place is there, and nobody tells it again: the
 * file must be writable before the call. */
static int check_token_file(const struct arguments *arguments, struct sr_err *err)
{
    static const char nothing[] = "";
    if (arguments->token_file == NULL) {
        return SR_OK;
    }
    return sr_newfile_write(arguments->token_file, 0600, nothing, 0, err);
}

static int keep_token(const struct arguments *arguments, const char *token, struct sr_err *err)
{
    if (arguments->token_file == NULL) {
        printf("token  %s\n", token);
        return SR_OK;
    }
    char line[SR_GRPC_MESSAGE_MAX];
    int size = snprintf(line, sizeof(line), "%s\n", token);
    remove(arguments->token_file);
    int status = sr_newfile_write(arguments->token_file, 0600, line, (size_t)size, err);
    explicit_bzero(line, sizeof(line));
    if (status == SR_OK) {
        printf("token  in %s\n", arguments->token_file);
    }
    return status;
}

static int add(struct arguments *arguments)
{
    struct sr_err err = {0};
    if (arguments->zone == NULL || arguments->peer_address == NULL) {
        return misused(arguments, "--zone and --peer-address are required");
    }
    if (check_token_file(arguments, &err) != SR_OK) {
        return failed(arguments, &err);
    }
    Strongroom__V1__MemberAddRequest request = STRONGROOM__V1__MEMBER_ADD_REQUEST__INIT;
    char *texts[3] = {sr_strdup(arguments->member), sr_strdup(arguments->zone),
                      sr_strdup(arguments->peer_address)};
    request.name = texts[0];
    request.zone = texts[1];
    request.peer_address = texts[2];
    request.client_urls = arguments->client_urls;
    request.n_client_urls = arguments->client_url_count;
    request.learner = arguments->learner;
    request.force = arguments->force;
    const Strongroom__V1__MemberAddResponse *response =
        (const Strongroom__V1__MemberAddResponse *)sr_remote_call(
            &arguments->remote, "MemberAdd", REMOTE_CHANGE, &request.base,
            &strongroom__v1__member_add_response__descriptor, NULL, &err);
    for (size_t i = 0; i < 3; i++) {
        sr_free(texts[i]);
    }
    if (response != NULL && response->member == NULL) {
        sr_err_set(&err, SR_INVALID, "%s: an answer without the member",
                   arguments->remote.answered);
    }
    if (response == NULL || response->member == NULL) {
        if (arguments->token_file != NULL) {
            remove(arguments->token_file);
        }
        return failed(arguments, &err);
    }
    printf("added  %s (%" PRIx64 "), zone %s, %s\n", response->member->name, response->member->id,
           response->member->zone, response->member->peer_address);
    return keep_token(arguments, response->token, &err) == SR_OK ? EXIT_DONE
                                                                 : failed(arguments, &err);
}

/* ---- remove, update, promote: of a member that there is ---- */

static const Member *need(struct arguments *arguments, struct sr_err *err)
{
    const Members *members = members_fetch(&arguments->remote, err);
    return members == NULL ? NULL : members_need(members, arguments->member, err);
}

static int change(struct arguments *arguments, const char *method, const ProtobufCMessage *request,
                  const ProtobufCMessageDescriptor *response, const char *done,
                  const Member *member)
{
    struct sr_err err = {0};
    if (sr_remote_call(&arguments->remote, method, REMOTE_CHANGE, request, response, NULL, &err) ==
        NULL) {
        return failed(arguments, &err);
    }
    printf("%s  %s (%" PRIx64 ")\n", done, member_name(member), member->id);
    return EXIT_DONE;
}

static int remove_member(struct arguments *arguments)
{
    struct sr_err err = {0};
    const Members *members = members_fetch(&arguments->remote, &err);
    const Member *member = members == NULL ? NULL : members_need(members, arguments->member, &err);
    if (member == NULL) {
        return failed(arguments, &err);
    }
    members_avoid(&arguments->remote, members, member);
    Strongroom__V1__MemberRemoveRequest request = STRONGROOM__V1__MEMBER_REMOVE_REQUEST__INIT;
    request.id = member->id;
    request.force = arguments->force;
    return change(arguments, "MemberRemove", &request.base,
                  &strongroom__v1__member_remove_response__descriptor, "removed", member);
}

static int update(struct arguments *arguments)
{
    struct sr_err err = {0};
    if (arguments->peer_address == NULL) {
        return misused(arguments, "--peer-address is required");
    }
    const Member *member = need(arguments, &err);
    if (member == NULL) {
        return failed(arguments, &err);
    }
    char *address = sr_strdup(arguments->peer_address);
    Strongroom__V1__MemberUpdateRequest request = STRONGROOM__V1__MEMBER_UPDATE_REQUEST__INIT;
    request.id = member->id;
    request.peer_address = address;
    request.force = arguments->force;
    int code = change(arguments, "MemberUpdate", &request.base,
                      &strongroom__v1__member_update_response__descriptor, "updated", member);
    sr_free(address);
    return code;
}

static int promote(struct arguments *arguments)
{
    struct sr_err err = {0};
    const Member *member = need(arguments, &err);
    if (member == NULL) {
        return failed(arguments, &err);
    }
    Strongroom__V1__MemberPromoteRequest request = STRONGROOM__V1__MEMBER_PROMOTE_REQUEST__INIT;
    request.id = member->id;
    request.force = arguments->force;
    return change(arguments, "MemberPromote", &request.base,
                  &strongroom__v1__member_promote_response__descriptor, "promoted", member);
}

/* ---- The command ---- */

static const struct subcommand {
    const char *name;
    const char *full_name;
    const char *options; /* that it takes, of those that not all take */
    bool takes_member;
    int (*run)(struct arguments *arguments);
} subcommands[] = {
    {"list", "strongroom member list", "j", false, list},
    {"add", "strongroom member add", "zpultf", true, add},
    {"remove", "strongroom member remove", "f", true, remove_member},
    {"update", "strongroom member update", "pf", true, update},
    {"promote", "strongroom member promote", "f", true, promote},
};

/* EXIT_USAGE, said, when the value is bad. */
static int take_option(struct arguments *arguments, int option, char *value)
{
    switch (option) {
    case 'z':
        arguments->zone = value;
        return EXIT_DONE;
    case 'p':
        arguments->peer_address = value;
        return EXIT_DONE;
    case 'u':
        if (arguments->client_url_count == CLIENT_URLS_MAX) {
            return misused(arguments, "too many --client-url");
        }
        arguments->client_urls[arguments->client_url_count++] = value;
        return EXIT_DONE;
    case 't':
        arguments->token_file = value;
        return EXIT_DONE;
    case 'l':
        arguments->learner = true;
        return EXIT_DONE;
    case 'f':
        arguments->force = true;
        return EXIT_DONE;
    case 'j':
        arguments->json = true;
        return EXIT_DONE;
    default:
        return EXIT_USAGE; /* getopt has said why */
    }
}

/* -1: help was printed. */
static int parse(int argc, char **argv, const struct subcommand *subcommand,
                 struct arguments *arguments)
{
    static const struct option options[] = {{"zone", required_argument, NULL, 'z'},
                                            {"peer-address", required_argument, NULL, 'p'},
                                            {"client-url", required_argument, NULL, 'u'},
                                            {"token-file", required_argument, NULL, 't'},
                                            {"learner", no_argument, NULL, 'l'},
                                            {"force", no_argument, NULL, 'f'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            REMOTE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        int code = sr_remote_option(&arguments->remote, option, optarg);
        if (code == -1 && option != '?' && strchr(subcommand->options, option) == NULL) {
            return misused(arguments, "it takes fewer options");
        }
        if (code == -1) {
            code = take_option(arguments, option, optarg);
        }
        if (code != EXIT_DONE) {
            return code;
        }
    }
    if (argc - optind != (subcommand->takes_member ? 1 : 0)) {
        return misused(arguments,
                       subcommand->takes_member ? "name one member" : "it takes no arguments");
    }
    arguments->member = subcommand->takes_member ? argv[optind] : NULL;
    return EXIT_DONE;
}

static int run(int argc, char **argv, const struct subcommand *subcommand)
{
    struct arguments arguments = {.remote = {.command = subcommand->full_name}};
    int code = parse(argc, argv, subcommand, &arguments);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    code = sr_remote_open(&arguments.remote, subcommand->full_name);
    if (code == EXIT_DONE) {
        code = subcommand->run(&arguments);
    }
    sr_remote_close(&arguments.remote);
    return code;
}

int command_member(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
        if (strcmp(word, subcommands[i].name) == 0) {
            return run(argc - 1, argv + 1, &subcommands[i]);
        }
    }
    if (strcmp(word, "wait") == 0) {
        return command_member_wait(argc - 1, argv + 1);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_help();
        return EXIT_DONE;
    }
    fprintf(stderr,
            "strongroom member: list, add, remove, update, promote or wait; --help has more\n");
    return EXIT_USAGE;
}
