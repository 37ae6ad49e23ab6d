/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration: a good file gives the struct, and every way to get it wrong gives one
 * sentence that names file, line, field and reason.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/config/config.h"
#include "tests/unit/cmocka.h"

static const char good[] =
    "name: n2\n"                                                                /* line 1 */
    "data_dir: /var/lib/strongroom\n"                                           /* 2 */
    "kek_file: /etc/strongroom/kek\n"                                           /* 3 */
    "cluster:\n"                                                                /* 4 */
    "  name: records\n"                                                         /* 5 */
    "  members:\n"                                                              /* 6 */
    "    - name: n1\n"                                                          /* 7 */
    "      zone: a\n"                                                           /* 8 */
    "      peer_address: 10.0.0.1:2380\n"                                       /* 9 */
    "      client_urls: [\"https://10.0.0.1:2379\"]\n"                          /* 10 */
    "    - name: n2\n"                                                          /* 11 */
    "      zone: b\n"                                                           /* 12 */
    "      peer_address: \"[fd00::2]:2380\"\n"                                  /* 13 */
    "      client_urls:\n"                                                      /* 14 */
    "        - https://n2.zone-b:2379\n"                                        /* 15 */
    "        - \"https://[fd00::2]:2379\"\n"                                    /* 16 */
    "client:\n"                                                                 /* 17 */
    "  listen: 0.0.0.0:2379\n"                                                  /* 18 */
    "  tls:\n"                                                                  /* 19 */
    "    certificate: /t/n2.crt\n"                                              /* 20 */
    "    private_key: /t/n2.key\n"                                              /* 21 */
    "    ca: /t/ca.crt\n"                                                       /* 22 */
    "peer:\n"                                                                   /* 23 */
    "  listen: \"[::]:2380\"\n"                                                 /* 24 */
    "  tls: {certificate: /p/n2.crt, private_key: /p/n2.key, ca: /p/ca.crt}\n"; /* 25 */

/* Write @text to a file of its own; returns its path, to be freed with remove_file. */
static char *write_file(const char *text)
{
    const char *dir = getenv("TMPDIR");
    char *path = NULL;
    assert_true(asprintf(&path, "%s/strongroom-config-XXXXXX", dir == NULL ? "/tmp" : dir) > 0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

static void remove_file(char *path)
{
    unlink(path);
    free(path);
}

/* @good with the first @find replaced by @replace (NULL: appended). */
static char *edited(const char *find, const char *replace)
{
    char *text = NULL;
    if (find == NULL) {
        assert_true(asprintf(&text, "%s%s", good, replace) > 0);
        return text;
    }
    const char *at = strstr(good, find);
    assert_non_null(at);
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - good), good, replace, at + strlen(find)) >
                0);
    return text;
}

static struct sr_config *load_text(const char *text)
{
    char *path = write_file(text);
    struct sr_err err = {0};
    struct sr_config *config = NULL;
    int status = sr_config_load(path, &config, &err);
    if (status != SR_OK) {
        fail_msg("refused: %s", err.text);
    }
    remove_file(path);
    return config;
}

static struct sr_config *load_edited(const char *find, const char *replace)
{
    char *text = edited(find, replace);
    struct sr_config *config = load_text(text);
    free(text);
    return config;
}

/* ---- What is right ---- */

static void test_reads_fields(void **state)
{
    (void)state;
    struct sr_config *config = load_text(good);
    assert_string_equal(config->name, "n2");
    assert_string_equal(config->data_dir, "/var/lib/strongroom");
    assert_string_equal(config->kek_file, "/etc/strongroom/kek");
    assert_string_equal(config->cluster.name, "records");
    assert_int_equal(config->cluster.members_count, 2);
    assert_string_equal(config->cluster.members[0].peer_address, "10.0.0.1:2380");
    assert_int_equal(config->cluster.members[1].client_urls_count, 2);
    assert_string_equal(config->cluster.members[1].client_urls[1], "https://[fd00::2]:2379");
    assert_string_equal(config->client.tls.private_key, "/t/n2.key");
    assert_string_equal(config->peer.tls.ca, "/p/ca.crt");
    assert_string_equal(sr_config_self(config)->zone, "b");
    sr_config_free(config);
}

static void test_defaults(void **state)
{
    (void)state;
    struct sr_config *config = load_text(good);
    assert_int_equal(config->client.loops, 0);
    assert_int_equal(config->client.connections_max, SR_CONNECTIONS_MAX);
    assert_int_equal(config->client.request_timeout_ms, SR_REQUEST_TIMEOUT_MS + 2000);
    assert_int_equal(config->client.drain_timeout_ms, 10000);
    assert_int_equal(config->peer.election_timeout_ms, 1000);
    assert_int_equal(config->peer.tick_ms, 50);
    assert_string_equal(config->admin.listen, "127.0.0.1:2381");
    assert_null(config->admin.tls);
    assert_int_equal(config->storage.map_bytes, 0);
    assert_int_equal(config->storage.memtable_entries, SR_MEMTABLE_ENTRIES_MAX);
    assert_int_equal(config->storage.memtable_bytes, SR_MEMTABLE_BYTES_MAX);
    assert_int_equal(config->storage.unindexed_entries, SR_UNINDEXED_ENTRIES_MAX);
    assert_int_equal(config->storage.disk_reserve_bytes, 256 << 20);
    assert_int_equal(config->storage.log_segment_bytes, 16 << 20);
    assert_int_equal(config->storage.log_keep_bytes, 1 << 30);
    assert_int_equal(config->storage.log_keep_entries, 2000000);
    assert_int_equal(config->log.level, SR_LOG_INFO);
    assert_int_equal(config->log.format, SR_LOG_LOGFMT);
    sr_config_free(config);
}

static void test_reads_what_defaults_cover(void **state)
{
    (void)state;
    struct sr_config *config =
        load_edited(NULL, "  election_timeout_ms: 300\n  tick_ms: 25\n"
                          "admin:\n  listen: 10.0.0.2:2381\n"
                          "  tls: {certificate: /a/c, private_key: /a/k, ca: /a/ca}\n"
                          "storage: {map_bytes: 1073741824, disk_reserve_bytes: 0}\n"
                          "log: {level: debug, format: json}\n");
    assert_int_equal(config->peer.election_timeout_ms, 300);
    assert_int_equal(config->peer.tick_ms, 25);
    assert_int_equal(config->client.request_timeout_ms, SR_REQUEST_TIMEOUT_MS + 600);
    assert_string_equal(config->admin.listen, "10.0.0.2:2381");
    assert_string_equal(config->admin.tls->private_key, "/a/k");
    assert_int_equal(config->storage.map_bytes, 1 << 30);
    assert_int_equal(config->storage.disk_reserve_bytes, 0);
    assert_int_equal(config->log.level, SR_LOG_DEBUG);
    assert_int_equal(config->log.format, SR_LOG_JSON);
    sr_config_free(config);
}

static void test_loopback_admin_needs_no_tls(void **state)
{
    (void)state;
    static const char *const listens[] = {"127.0.0.1:1", "127.9.9.9:65535", "\"[::1]:2381\"",
                                          "localhost:2381"};
    for (size_t i = 0; i < sizeof(listens) / sizeof(listens[0]); i++) {
        char *more = NULL;
        assert_true(asprintf(&more, "admin:\n  listen: %s\n", listens[i]) > 0);
        sr_config_free(load_edited(NULL, more));
        free(more);
    }
}

/* Ids are what nodes and disks know each other by: these are written in stone. */
static void test_ids(void **state)
{
    (void)state;
    struct sr_config *config = load_text(good);
    /* printf 'records\0n1\0' | sha256sum, and so on */
    assert_true(config->cluster.members[0].id == UINT64_C(0xf94c7bd083d55c73));
    assert_true(config->cluster.members[1].id == UINT64_C(0x2842da1bcb940bc3));
    assert_true(config->cluster.id == UINT64_C(0xc69fe42bf3d81c94));

    struct sr_config *other = load_edited("  name: records\n", "  name: others\n");
    assert_true(other->cluster.id != config->cluster.id);
    assert_true(other->cluster.members[0].id != config->cluster.members[0].id);
    sr_config_free(other);
    sr_config_free(config);
}

static void test_id_ignores_order(void **state)
{
    (void)state;
    static const char first[] = "    - name: n1\n      zone: a\n"
                                "      peer_address: 10.0.0.1:2380\n"
                                "      client_urls: [\"https://10.0.0.1:2379\"]\n";
    struct sr_config *config = load_text(good);
    char *without = edited(first, "");
    const char *at = strstr(without, "client:\n");
    char *swapped = NULL;
    assert_true(asprintf(&swapped, "%.*s%s%s", (int)(at - without), without, first, at) > 0);
    struct sr_config *other = load_text(swapped);
    assert_string_equal(other->cluster.members[0].name, "n2");
    assert_true(other->cluster.id == config->cluster.id);
    free(without);
    free(swapped);
    sr_config_free(other);
    sr_config_free(config);
}

/* ---- What is wrong ---- */

struct wrong {
    const char *find; /* NULL: append */
    const char *replace;
    const char *text; /* what follows "<file>:" */
};

#define NAME_RULE    "must be 1 to 63 of a-z, 0-9 and '-', the first and last not '-'"
#define ADDRESS_RULE "must be host:port or [address]:port, the port from 1 to 65535"

/* Lines 26 to 30 of a file; a target may go on behind it, or the section. */
#define OFFSITE                                                                                    \
    "offsite:\n"                                                                                   \
    "  recovery_keys: [/r/key.pub]\n"                                                              \
    "  targets:\n"                                                                                 \
    "    - name: far\n"                                                                            \
    "      url: s3://bucket/prefix\n"

static const struct wrong wrongs[] = {
    /* Fields that are not there, or should not be. */
    {"name: n2\n", "", "1: name: missing"},
    {"data_dir: /var/lib/strongroom\n", "", "1: data_dir: missing"},
    {"kek_file: /etc/strongroom/kek\n", "", "1: kek_file: missing"},
    {"  name: records\n", "", "4: cluster.name: missing"},
    {"      zone: b\n", "", "11: cluster.members[1].zone: missing"},
    {"      peer_address: 10.0.0.1:2380\n", "", "7: cluster.members[0].peer_address: missing"},
    {"      client_urls: [\"https://10.0.0.1:2379\"]\n", "",
     "7: cluster.members[0].client_urls: missing"},
    {"  listen: 0.0.0.0:2379\n", "", "17: client.listen: missing"},
    {"    ca: /t/ca.crt\n", "", "19: client.tls.ca: missing"},
    {", ca: /p/ca.crt", "", "25: peer.tls.ca: missing"},
    {NULL, "admin:\n  tls: {certificate: /a, private_key: /b}\n", "27: admin.tls.ca: missing"},
    {NULL, "colour: red\n", "26: colour: unknown field"},
    {"      zone: a\n", "      zone: a\n      zones: a\n",
     "9: cluster.members[0].zones: unknown field"},
    {"  listen: 0.0.0.0:2379\n", "  listen: 0.0.0.0:2379\n  speed: 3\n",
     "19: client.speed: unknown field"},
    {NULL, "log: {colour: red}\n", "26: log.colour: unknown field"},
    {NULL, "name: n1\n", "26: name: given twice"},
    {"      zone: a\n", "      zone: a\n      zone: b\n",
     "9: cluster.members[0].zone: given twice"},

    /* Types. */
    {"name: n2\n", "name: [n2]\n", "1: name: must be a single value"},
    {"name: n2\n", "name: {a: n2}\n", "1: name: must be a single value"},
    {"name: n2\n", "name:\n", "1: name: must not be empty"},
    {NULL, "log: loud\n", "26: log: must be a mapping of fields"},
    {"client_urls: [\"https://10.0.0.1:2379\"]", "client_urls: https://10.0.0.1:2379",
     "10: cluster.members[0].client_urls: must be a list"},
    {"client_urls: [\"https://10.0.0.1:2379\"]", "client_urls: []",
     "10: cluster.members[0].client_urls: needs at least one entry"},
    {NULL, "log: {level: loud}\n", "26: log.level: must be one of debug, info, warn, error"},
    {NULL, "log: {level: 2}\n", "26: log.level: must be one of debug, info, warn, error"},
    {NULL, "log: {format: xml}\n", "26: log.format: must be one of logfmt, json"},

    /* Numbers. */
    {NULL, "  tick_ms: fast\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: 12k\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: -5\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: 0x10\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: 010\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: [10]\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms:\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: 4\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  tick_ms: 1001\n", "26: peer.tick_ms: must be a whole number from 5 to 1000"},
    {NULL, "  election_timeout_ms: 149\n",
     "26: peer.election_timeout_ms: must be a whole number from 150 to 60000"},
    {NULL, "  election_timeout_ms: 99999999999999999999\n",
     "26: peer.election_timeout_ms: must be a whole number from 150 to 60000"},
    {NULL, "  election_timeout_ms: 300\n  tick_ms: 101\n",
     "27: peer.tick_ms: 101 is more than a third of peer.election_timeout_ms (300)"},
    {"  listen: 0.0.0.0:2379\n", "  listen: 0.0.0.0:2379\n  loops: 9\n",
     "19: client.loops: must be a whole number from 0 to 8"},
    {"  listen: 0.0.0.0:2379\n", "  connections_max: 0\n  listen: 0.0.0.0:2379\n",
     "18: client.connections_max: must be a whole number from 1 to 10000"},
    {"  listen: 0.0.0.0:2379\n", "  request_timeout_ms: 0\n  listen: 0.0.0.0:2379\n",
     "18: client.request_timeout_ms: must be a whole number from 100 to 600000"},
    {"  listen: 0.0.0.0:2379\n", "  drain_timeout_ms: 600001\n  listen: 0.0.0.0:2379\n",
     "18: client.drain_timeout_ms: must be a whole number from 0 to 600000"},
    {NULL, "storage:\n  map_bytes: 1\n",
     "27: storage.map_bytes: must be a whole number from 67108864 to 70368744177664"},
    {NULL, "storage:\n  memtable_entries: 0\n",
     "27: storage.memtable_entries: must be a whole number from 16 to 1000000"},
    {NULL, "storage:\n  unindexed_entries: 15\n",
     "27: storage.unindexed_entries: must be a whole number from 16 to 10000000"},
    {NULL, "storage:\n  memtable_bytes: 0\n",
     "27: storage.memtable_bytes: must be a whole number from 65536 to 4294967296"},
    {NULL, "storage:\n  disk_reserve_bytes: no\n",
     "27: storage.disk_reserve_bytes: must be a whole number from 0 to 1099511627776"},
    {NULL, "storage:\n  log_segment_bytes: 5\n",
     "27: storage.log_segment_bytes: must be a whole number from 65536 to 1073741824"},
    {NULL, "image:\n  bytes_per_second: 1048575\n",
     "27: image.bytes_per_second: 1048575 is too slow for any image to arrive: at least 1048576, "
     "or "
     "0 for no limit"},
    {NULL, "storage:\n  log_keep_bytes: all\n",
     "27: storage.log_keep_bytes: must be a whole number from 0 to 1099511627776"},

    /* Names. */
    {"name: n2\n", "name: N2\n", "1: name: " NAME_RULE},
    {"name: n2\n", "name: n3\n", "1: name: \"n3\" is none of cluster.members"},
    {"  name: records\n", "  name: my records\n", "5: cluster.name: " NAME_RULE},
    {"    - name: n1\n", "    - name: -n1\n", "7: cluster.members[0].name: " NAME_RULE},
    {"    - name: n1\n", "    - name: n1.example\n", "7: cluster.members[0].name: " NAME_RULE},
    {"    - name: n1\n",
     "    - name: n123456789012345678901234567890123456789012345678901234567890123\n",
     "7: cluster.members[0].name: " NAME_RULE},
    {"      zone: a\n", "      zone: a_b\n", "8: cluster.members[0].zone: " NAME_RULE},
    {"    - name: n1\n", "    - name: n2\n",
     "11: cluster.members[1].name: \"n2\" is already cluster.members[0]"},
    {"\"[fd00::2]:2380\"", "10.0.0.1:2380",
     "13: cluster.members[1].peer_address: \"10.0.0.1:2380\" is already that of "
     "cluster.members[0]"},

    /* Addresses. */
    {"10.0.0.1:2380", "10.0.0.1", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"10.0.0.1:2380", "10.0.0.1:0", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"10.0.0.1:2380", "10.0.0.1:65536", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"10.0.0.1:2380", ":2380", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"10.0.0.1:2380", "fd00::1:2380", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"10.0.0.1:2380", "https://n1:2380", "9: cluster.members[0].peer_address: " ADDRESS_RULE},
    {"0.0.0.0:2379", "2379", "18: client.listen: " ADDRESS_RULE},
    {"\"[::]:2380\"", "all:x", "24: peer.listen: " ADDRESS_RULE},
    {"https://n2.zone-b:2379", "http://n2.zone-b:2379",
     "15: cluster.members[1].client_urls[0]: must be https://host:port, without a path"},
    {"\"https://[fd00::2]:2379\"", "https://n2:2379/v3",
     "16: cluster.members[1].client_urls[1]: must be https://host:port, without a path"},
    {NULL, "admin:\n  listen: nowhere\n", "27: admin.listen: " ADDRESS_RULE},
    {NULL, "admin:\n  listen: 0.0.0.0:2381\n",
     "27: admin.listen: \"0.0.0.0:2381\" is not a loopback address, so admin.tls is required"},
    {NULL, "admin:\n  listen: \"[::]:2381\"\n",
     "27: admin.listen: \"[::]:2381\" is not a loopback address, so admin.tls is required"},

    /* Files. */
    {"/var/lib/strongroom", "var", "2: data_dir: must be an absolute path"},
    {"/etc/strongroom/kek", "./kek", "3: kek_file: must be an absolute path"},
    {"/t/n2.crt", "n2.crt", "20: client.tls.certificate: must be an absolute path"},
    {"/p/n2.key", "n2.key", "25: peer.tls.private_key: must be an absolute path"},
    {NULL, "admin:\n  tls: {certificate: /a, private_key: /b, ca: c}\n",
     "27: admin.tls.ca: must be an absolute path"},

    /* Off-site. */
    {NULL, "offsite:\n  every_ms: 1000\n", "26: offsite.targets: missing"},
    {NULL, OFFSITE "  every_ms: 999\n",
     "31: offsite.every_ms: must be a whole number from 1000 to 604800000"},
    {NULL, OFFSITE "  drill_every_ms: 604800001\n",
     "31: offsite.drill_every_ms: must be a whole number from 0 to 604800000"},
    {NULL, OFFSITE "  times: [\"00:00\", \"24:00\"]\n",
     "31: offsite.times[1]: must be HH:MM, from 00:00 to 23:59"},
    {NULL, OFFSITE "  times: [\"07:00\", \"07:00\"]\n",
     "31: offsite.times[1]: must be later than the one before it"},
    {NULL, OFFSITE "  every_ms: 5000\n  times: [\"07:00\"]\n",
     "31: offsite.every_ms: there is offsite.times already: one of the two"},
    {NULL, OFFSITE "  regions_allowed: [eu-west-1]\n",
     "29: offsite.targets[0].region: missing, and offsite.regions_allowed demands one"},
    {NULL, OFFSITE "      region: us-east-1\n  regions_allowed: [eu-west-1, eu-west-3]\n",
     "31: offsite.targets[0].region: \"us-east-1\" is none of offsite.regions_allowed"},
    {NULL, OFFSITE "      region: eu-west-3\n  regions_allowed: [eu-west-1, eu-west-3]\n", NULL},
    {NULL, OFFSITE "      lock: forever\n",
     "31: offsite.targets[0].lock: must be one of none, governance, compliance"},
    {NULL, OFFSITE "      lock: compliance\n",
     "29: offsite.targets[0].lock_days: lock and lock_days belong together"},
    {NULL, OFFSITE "      sse: rot13\n",
     "31: offsite.targets[0].sse: must be one of none, aes256, kms"},
    {NULL, OFFSITE "      part_bytes: 5\n",
     "31: offsite.targets[0].part_bytes: must be a whole number from 5242880 to 67108864"},
    {NULL, OFFSITE "      credentials_file: here\n",
     "31: offsite.targets[0].credentials_file: must be an absolute path"},
    {NULL, OFFSITE "    - {name: far, url: \"s3://b\"}\n",
     "31: offsite.targets[1].name: \"far\" is already offsite.targets[0]"},
    {NULL, OFFSITE "    - {name: near, url: \"s3://bucket/prefix/\"}\n",
     "31: offsite.targets[1].url: offsite.targets[0] is there already: two in one place would "
     "number what they ship alike"},
    {NULL, OFFSITE "  retention: {last: 500, daily: 400, monthly: 120}\n",
     "31: offsite.retention.last: last, daily, monthly and yearly are too many together: of each "
     "of 1 targets there is room for 1015 snapshots"},
    {NULL, OFFSITE "    - {name: near, url: \"https://b\"}\n",
     "31: offsite.targets[1].url: must be s3://BUCKET/PREFIX or file:///DIRECTORY"},
    {NULL, OFFSITE "      endpoint: s3.example\n",
     "29: offsite.targets[0]: s3://bucket/prefix: endpoint is https://HOST or https://HOST:PORT"},
    {NULL, OFFSITE "      credentials_file: /c\n      credentials_command: cat /c\n",
     "29: offsite.targets[0]: s3://bucket/prefix: credentials come from a file or from a command"},
    {NULL, OFFSITE "      storage_class: cold\n",
     "29: offsite.targets[0]: s3://bucket/prefix: storage_class: that is no storage class"},
    {NULL, OFFSITE "    - {name: near, url: \"file:///tmp\", endpoint: \"https://h\"}\n",
     "31: offsite.targets[1]: file:///tmp: it has settings that only an s3:// target can have"},
    {NULL, OFFSITE "    - {name: near, url: \"file:///not/mounted\"}\n", NULL},
    {NULL, OFFSITE "  retention: {last: 0}\n",
     "31: offsite.retention.last: must be a whole number from 1 to 500"},
    {NULL, OFFSITE "  retention: {weekly: 1}\n", "31: offsite.retention.weekly: unknown field"},

    /* YAML itself. */
    {"name: n2\n", "name: &n n2\n", NULL},
    {"kek_file: /etc/strongroom/kek\n", "kek_file: *n\n", "3: aliases are not supported"},
    {NULL, "---\nname: x\n", "26: a second document; one is expected"},
    {NULL, "log: [\n", "27: did not find expected node content"},
    {NULL, "log: {a: {b: {c: {d: {e: {f: {g: {h: 1}}}}}}}}\n",
     "26: nested deeper than any configuration is"},
    {NULL, "? [a]\n: b\n", "26: the name of a field must be text"},
};

static void check_wrong(const struct wrong *wrong)
{
    char *text = edited(wrong->find, wrong->replace);
    char *path = write_file(text);
    struct sr_config *config = NULL;
    struct sr_err err = {0};
    int status = sr_config_load(path, &config, &err);
    if (wrong->text == NULL) {
        assert_int_equal(status, SR_OK);
        sr_config_free(config);
    } else {
        char *expected = NULL;
        assert_true(asprintf(&expected, "%s:%s", path, wrong->text) > 0);
        assert_string_equal(err.text, expected);
        assert_int_equal(status, SR_INVALID);
        assert_null(config);
        free(expected);
    }
    remove_file(path);
    free(text);
}

static void test_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        check_wrong(&wrongs[i]);
    }
}

static void expect_text(const char *text, const char *expected)
{
    char *path = write_file(text);
    struct sr_config *config = NULL;
    struct sr_err err = {0};
    assert_int_equal(sr_config_load(path, &config, &err), SR_INVALID);
    assert_string_equal(err.text + strlen(path), expected);
    remove_file(path);
}

static void test_not_a_mapping(void **state)
{
    (void)state;
    expect_text("", ":1: the file has no fields");
    expect_text("# nothing\n", ":1: the file has no fields");
    expect_text("{}\n", ":1: the file has no fields");
    expect_text("- a\n", ":1: expected a mapping of fields");
    expect_text("\n\nhello\n", ":3: expected a mapping of fields");
}

static void test_too_many(void **state)
{
    (void)state;
    char *urls = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&urls, &size);
    fputs("client_urls: [", out);
    for (int i = 0; i < 17; i++) {
        fprintf(out, "%s\"https://n:%d\"", i == 0 ? "" : ", ", i + 1);
    }
    fputs("]", out);
    fclose(out);
    struct wrong wrong = {"client_urls: [\"https://10.0.0.1:2379\"]", urls,
                          "10: cluster.members[0].client_urls: at most 16 entries"};
    check_wrong(&wrong);
    free(urls);

    char *members = NULL;
    out = open_memstream(&members, &size);
    fputs("  members:\n", out);
    for (int i = 0; i < 8; i++) {
        fprintf(out,
                "    - {name: m%d, zone: c, peer_address: \"m:%d\", client_urls: "
                "[\"https://m:1\"]}\n",
                i, i + 1);
    }
    fclose(out);
    wrong = (struct wrong){"  members:\n", members, "6: cluster.members: at most 9 entries"};
    check_wrong(&wrong);
    free(members);
}

static void test_missing_file(void **state)
{
    (void)state;
    char *path = write_file("");
    unlink(path);
    struct sr_config *config = NULL;
    struct sr_err err = {0};
    assert_int_equal(sr_config_load(path, &config, &err), SR_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    free(path);
    assert_int_equal(sr_config_load("/", &config, &err), SR_INVALID);
    assert_string_equal(err.text, "/: not a regular file of at most 1 MiB");
}

static void test_offsite(void **state)
{
    (void)state;
    char *text = edited(NULL, OFFSITE "      region: eu-west-3\n"
                                      "      lock: governance\n"
                                      "      lock_days: 30\n"
                                      "      parts_parallel: 2\n"
                                      "  times: [\"00:10\", \"12:00\"]\n"
                                      "  drill: false\n"
                                      "  retention: {daily: 3}\n");
    struct sr_config *config = load_text(text);
    const struct sr_config_offsite *offsite = config->offsite;
    assert_int_equal(offsite->targets_count, 1);
    assert_string_equal(offsite->targets[0].name, "far");
    assert_string_equal(offsite->targets[0].region, "eu-west-3");
    assert_int_equal(offsite->targets[0].lock, SR_TARGET_LOCK_GOVERNANCE);
    assert_int_equal(offsite->targets[0].lock_days, 30);
    assert_int_equal(offsite->targets[0].parts_parallel, 2);
    assert_null(offsite->targets[0].endpoint);
    assert_int_equal(offsite->every_ms, 0);
    assert_int_equal(sr_config_time_of_day(offsite->times[1]), 12 * 3600);
    assert_int_equal(offsite->changes_every_ms, 10000);
    assert_int_equal(offsite->claim_timeout_ms, 30000);
    assert_false(offsite->drill);
    assert_int_equal(offsite->drill_every_ms, 0);
    assert_int_equal(offsite->retention.last, 10);
    assert_int_equal(offsite->retention.daily, 3);
    sr_config_free(config);
    free(text);
    text = edited(NULL, OFFSITE);
    config = load_text(text);
    assert_int_equal(config->offsite->every_ms, 86400000 / 5);
    assert_true(config->offsite->drill);
    sr_config_free(config);
    free(text);
    config = load_text(good);
    assert_null(config->offsite);
    sr_config_free(config);
}

/* The file that documents every field is itself a configuration. */
static void test_documented_file(void **state)
{
    (void)state;
    struct sr_config *config = NULL;
    struct sr_err err = {0};
    int status = sr_config_load(DOCUMENTED_FILE, &config, &err);
    if (status != SR_OK) {
        fail_msg("%s", err.text);
    }
    struct sr_config *defaults = load_text(good);
    assert_memory_equal(&config->storage.memtable_entries, &defaults->storage.memtable_entries,
                        sizeof(config->storage) - sizeof(config->storage.map_bytes));
    assert_int_equal(config->peer.election_timeout_ms, defaults->peer.election_timeout_ms);
    assert_int_equal(config->peer.tick_ms, defaults->peer.tick_ms);
    assert_int_equal(config->client.loops, defaults->client.loops);
    assert_int_equal(config->client.connections_max, defaults->client.connections_max);
    assert_int_equal(config->client.request_timeout_ms, defaults->client.request_timeout_ms);
    assert_int_equal(config->client.drain_timeout_ms, defaults->client.drain_timeout_ms);
    assert_memory_equal(&config->log, &defaults->log, sizeof(config->log));
    sr_config_free(defaults);
    sr_config_free(config);
}

/* So is its section about off-site, which is a comment there: it needs a place to ship to. */
static void test_documented_offsite(void **state)
{
    (void)state;
    char line[256];
    char *text = NULL;
    size_t size = 0;
    bool in_section = false;
    FILE *in = fopen(DOCUMENTED_FILE, "r");
    FILE *out = open_memstream(&text, &size);
    assert_non_null(in);
    while (fgets(line, sizeof(line), in) != NULL) {
        in_section = in_section || strcmp(line, "# offsite:\n") == 0;
        fputs(in_section && strncmp(line, "# ", 2) == 0 ? line + 2 : line, out);
    }
    fclose(in);
    fclose(out);
    struct sr_config *config = load_text(text);
    assert_non_null(config->offsite);
    assert_int_equal(config->offsite->targets_count, 2);
    assert_int_equal(config->offsite->times_count, 5);
    assert_int_equal(config->offsite->retention.changes_days, 35);
    assert_int_equal(config->offsite->targets[0].attempts, 6);
    sr_config_free(config);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_fields),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_reads_what_defaults_cover),
        cmocka_unit_test(test_loopback_admin_needs_no_tls),
        cmocka_unit_test(test_offsite),
        cmocka_unit_test(test_documented_offsite),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_id_ignores_order),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_not_a_mapping),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_documented_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
