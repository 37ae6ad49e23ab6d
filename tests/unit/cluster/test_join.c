/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose a place is, and what a node remembers of having taken it.
 */
#include "tests/unit/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/cluster/join.h"
#include "node/cluster/join_match.h"
#include "node/cluster/joined.h"
#include "node/cluster/token.h"

/* Two founders; a place for n3 in zone c with a token; one that etcdctl made, by its address. */
struct record {
    Strongroom__MemberRecord members[4];
    Strongroom__MemberRecord *pointers[4];
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    Strongroom__ClusterRecord record;
};

static const char token[] = "0123456789abcdef";

static void make_record(struct record *made)
{
    static const char *const names[] = {"n1", "n2", "n3", ""};
    static const char *const zones[] = {"a", "b", "c", ""};
    static const char *const addresses[] = {"n1:1", "n2:1", "n3:1", "10.0.0.4:1"};
    strongroom__cluster_record__init(&made->record);
    for (size_t i = 0; i < 4; i++) {
        Strongroom__MemberRecord *member = &made->members[i];
        strongroom__member_record__init(member);
        member->id = 10 + i;
        member->name = (char *)(uintptr_t)names[i];
        member->zone = (char *)(uintptr_t)zones[i];
        member->peer_address = (char *)(uintptr_t)addresses[i];
        member->feature_level = i < 2 ? 2 : 0;
        made->pointers[i] = member;
    }
    sr_token_hash(token, strlen(token), made->hash);
    made->members[2].token_hash = (ProtobufCBinaryData){sizeof(made->hash), made->hash};
    made->record.epoch = 7;
    made->record.n_members = 4;
    made->record.members = made->pointers;
}

static Strongroom__JoinRequest request_of(const char *name, const char *zone, const char *address,
                                          const char *with)
{
    Strongroom__JoinRequest request = STRONGROOM__JOIN_REQUEST__INIT;
    request.name = (char *)(uintptr_t)name;
    request.zone = (char *)(uintptr_t)zone;
    request.peer_address = (char *)(uintptr_t)address;
    request.token = (ProtobufCBinaryData){strlen(with), (uint8_t *)(uintptr_t)with};
    request.feature_level = 2;
    return request;
}

/* Asked by the node whose key begins with @key. */
static void expect_in(const struct record *made, const Strongroom__JoinRequest *request,
                      bool has_name, uint8_t key, size_t at, const char *words)
{
    const uint8_t keys[SR_TOKEN_KEY_BYTES] = {key};
    struct sr_join_asker asker = {.has_name = has_name};
    struct sr_err err = {0};
    sr_token_claim(keys, (const char *)request->token.data, request->token.len, asker.claim);
    size_t found = sr_join_match(&made->record, request, &asker, &err);
    if (found != at || strstr(err.text, words) == NULL) {
        fail_msg("expected %zu \"%s\", got %zu \"%s\"", at, words, found, err.text);
    }
}

static void expect(const Strongroom__JoinRequest *request, bool has_name, size_t at,
                   const char *words)
{
    struct record made;
    make_record(&made);
    expect_in(&made, request, has_name, 1, at, words);
}

static void a_place_is_found_by_token_or_address(void **state)
{
    (void)state;
    Strongroom__JoinRequest request = request_of("n3", "c", "n3:1", token);
    expect(&request, true, 2, "");
    request = request_of("n4", "d", "10.0.0.4:1", "");
    expect(&request, true, 3, "");
}

static void what_does_not_fit_is_refused_with_the_reason(void **state)
{
    (void)state;
    const struct {
        Strongroom__JoinRequest request;
        const char *words;
    } cases[] = {
        {request_of("n3", "c", "n3:1", "another"), "no place waits for this token"},
        {request_of("n3", "c", "n3:1", ""), "needs the token"},
        {request_of("n5", "c", "n3:1", token), "is that of \"n3\""},
        {request_of("n3", "d", "n3:1", token), "in zone \"c\""},
        {request_of("n3", "c", "n3:2", token), "of the address n3:1"},
        {request_of("n4", "d", "10.0.0.5:1", ""), "no place was made for the address"},
        {request_of("n1", "a", "n1:1", ""), "taken already"},
        {request_of("N4", "d", "10.0.0.4:1", ""), "malformed"},
        {request_of("n4", "", "10.0.0.4:1", ""), "malformed"},
        {request_of("n4", "d", "10.0.0.4", ""), "malformed"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect(&cases[i].request, true, 4, cases[i].words);
    }
    Strongroom__JoinRequest request = request_of("n3", "c", "n3:1", token);
    expect(&request, false, 4, "certificate does not carry the name n3");
    request.feature_level = 1;
    expect(&request, true, 4, "feature level 1 is too low");
}

/* Place @at as the node with key 1 has taken it. */
static void take(struct record *made, size_t at, const char *name, const char *zone,
                 const char *with)
{
    const uint8_t key[SR_TOKEN_KEY_BYTES] = {1};
    Strongroom__MemberRecord *place = &made->members[at];
    sr_token_claim(key, with, strlen(with), made->hash);
    place->name = (char *)(uintptr_t)name;
    place->zone = (char *)(uintptr_t)zone;
    place->feature_level = 2;
    place->token_hash = (ProtobufCBinaryData){sizeof(made->hash), made->hash};
}

static void who_has_taken_a_place_may_ask_again(void **state)
{
    (void)state;
    struct record made;
    make_record(&made);
    take(&made, 2, "n3", "c", token);
    Strongroom__JoinRequest request = request_of("n3", "c", "n3:1", token);
    expect_in(&made, &request, true, 1, 2, "");
    expect_in(&made, &request, true, 2, 4, "no place waits for this token");
    expect_in(&made, &request, false, 1, 4, "certificate");
    request = request_of("n3", "c", "n3:1", "another");
    expect_in(&made, &request, true, 1, 4, "no place waits for this token");
    request = request_of("n3", "c", "n3:1", "");
    expect_in(&made, &request, true, 1, 4, "taken already");
    request = request_of("n3", "d", "n3:1", token);
    expect_in(&made, &request, true, 1, 4, "in zone \"c\"");
    made.members[2].token_hash.len = 0; /* it has published */
    request = request_of("n3", "c", "n3:1", token);
    expect_in(&made, &request, true, 1, 4, "no place waits for this token");

    make_record(&made);
    take(&made, 3, "n4", "d", "");
    request = request_of("n4", "d", "10.0.0.4:1", "");
    expect_in(&made, &request, true, 1, 3, "");
    expect_in(&made, &request, true, 2, 4, "taken already");
}

/* ---- DIR/joined ---- */

struct fixture {
    char dir[64];
    char data_dir[96];
    char file[128];
    struct record record;
    Strongroom__JoinReply joined;
};

static int set_up(void **state)
{
    struct fixture *fixture = sr_zalloc(sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/join-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->data_dir, sizeof(fixture->data_dir), "%s/data", fixture->dir);
    snprintf(fixture->file, sizeof(fixture->file), "%s/joined", fixture->data_dir);
    make_record(&fixture->record);
    strongroom__join_reply__init(&fixture->joined);
    fixture->joined.cluster_id = 99;
    fixture->joined.member_id = 12;
    fixture->joined.record = &fixture->record.record;
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    unlink(fixture->file);
    rmdir(fixture->data_dir);
    rmdir(fixture->dir);
    sr_free(fixture);
    return 0;
}

/* As the schema would have made it: all of its memory is its own. */
static struct sr_config *make_config(const struct fixture *fixture, const char *name)
{
    struct sr_config *config = sr_zalloc(sizeof(*config));
    config->name = sr_strdup(name);
    config->data_dir = sr_strdup(fixture->data_dir);
    config->cluster.members = sr_calloc(1, sizeof(struct sr_config_member));
    config->cluster.members_count = 1;
    config->cluster.members[0] = (struct sr_config_member){.name = sr_strdup(name),
                                                           .zone = sr_strdup("c"),
                                                           .peer_address = sr_strdup("n3:9"),
                                                           .id = 1};
    return config;
}

static void a_node_that_has_joined_is_that_member(void **state)
{
    struct fixture *fixture = *state;
    struct sr_err err = {0};
    assert_int_equal(sr_joined_write(fixture->data_dir, &fixture->joined, &err), SR_OK);
    struct sr_config *config = make_config(fixture, "n3");
    assert_int_equal(sr_join(config, &err), SR_OK);
    assert_true(config->cluster.joined);
    assert_int_equal(config->cluster.id, 99);
    assert_int_equal(config->cluster.members_count, 4);
    assert_int_equal(sr_config_self(config)->id, 12);
    assert_string_equal(sr_config_self(config)->peer_address, "n3:9"); /* its own word */
    for (unsigned i = 0; i < 4; i++) {
        const struct sr_config_member *member = &config->cluster.members[i];
        assert_true(member->id >= 10 && member->id < 14);
    }
    sr_config_free(config);

    config = make_config(fixture, "n5");
    assert_int_equal(sr_join(config, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "has joined its cluster as member \"n3\""));
    sr_config_free(config);
}

static void a_founder_is_left_as_it_is(void **state)
{
    struct fixture *fixture = *state;
    struct sr_config *config = make_config(fixture, "n3");
    assert_int_equal(sr_join(config, NULL), SR_OK);
    assert_false(config->cluster.joined);
    assert_int_equal(config->cluster.members_count, 1);
    sr_config_free(config);
}

static void an_identity_that_is_malformed_is_none(void **state)
{
    struct fixture *fixture = *state;
    struct sr_err err = {0};
    Strongroom__MemberRecord *members = fixture->record.members;
    assert_int_equal(sr_joined_check(&fixture->joined, &err), SR_OK);
    members[0].peer_address = (char[]){"n1:1\n"};
    assert_int_equal(sr_joined_check(&fixture->joined, &err), SR_INVALID);
    assert_non_null(strstr(err.text, "000000000000000a is malformed"));
    make_record(&fixture->record);
    members[2].name = (char[]){""}; /* others may be vacant */
    assert_int_equal(sr_joined_check(&fixture->joined, &err), SR_INVALID);
}

/* Whoever names a file means what is in it: an empty one is not the same as none. */
static void an_empty_token_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_err err = {0};
    struct sr_config *config = make_config(fixture, "n3");
    char path[128];
    snprintf(path, sizeof(path), "%s/token", fixture->dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "\n", 1), 1);
    close(fd);
    config->cluster.join = sr_zalloc(sizeof(*config->cluster.join));
    config->cluster.join->token_file = sr_strdup(path);
    assert_int_equal(sr_join(config, &err), SR_KEY);
    assert_non_null(strstr(err.text, "is empty"));
    unlink(path);
    sr_config_free(config);
}

static void every_flipped_byte_is_found(void **state)
{
    struct fixture *fixture = *state;
    struct sr_err err = {0};
    assert_int_equal(sr_joined_write(fixture->data_dir, &fixture->joined, &err), SR_OK);
    int fd = open(fixture->file, O_RDWR);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    for (off_t at = 0; at < info.st_size; at++) {
        uint8_t byte = 0;
        Strongroom__JoinReply *read = NULL;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(sr_joined_read(fixture->data_dir, &read, &err), SR_CORRUPT);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    for (off_t size = info.st_size - 1; size >= 0; size -= 7) {
        Strongroom__JoinReply *read = NULL;
        assert_int_equal(ftruncate(fd, size), 0);
        assert_int_equal(sr_joined_read(fixture->data_dir, &read, &err), SR_CORRUPT);
    }
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_found_by_token_or_address),
        cmocka_unit_test(what_does_not_fit_is_refused_with_the_reason),
        cmocka_unit_test(who_has_taken_a_place_may_ask_again),
        TEST(a_node_that_has_joined_is_that_member),
        TEST(a_founder_is_left_as_it_is),
        TEST(an_identity_that_is_malformed_is_none),
        TEST(an_empty_token_is_refused),
        TEST(every_flipped_byte_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
