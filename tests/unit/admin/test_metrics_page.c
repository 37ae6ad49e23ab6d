/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics is read back by a strict parser of the text format, which fails on anything that
 * Prometheus would refuse; then single numbers are looked up in what it found.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/admin/exposition.h"
#include "node/admin/metrics_page.h"
#include "node/admin/standing_page.h"
#include "tests/unit/admin/fakes.h"
#include "tests/unit/cmocka.h"

/* ---- The parser ---- */

#define SAMPLES_MAX 4096
#define NAME_CHARS  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:"

struct sample {
    char name[128];
    char labels[256]; /* as written, without braces */
    double value;
};

static struct sample samples[SAMPLES_MAX];
static size_t sample_count;
static char families[256][128];
static size_t family_count;

/* Over one `name="value"`, with escapes; returns what follows. */
static const char *skip_label(const char *at)
{
    size_t name = strspn(at, NAME_CHARS);
    assert_true(name > 0);
    at += name;
    assert_memory_equal(at, "=\"", 2);
    at += 2;
    while (*at != '"') {
        assert_true(*at != 0 && *at != '\n');
        if (*at == '\\') {
            at++;
            assert_non_null(strchr("\\\"n", *at));
        }
        at++;
    }
    return at + 1;
}

static void parse_sample(const char *line)
{
    assert_true(sample_count < SAMPLES_MAX);
    struct sample *sample = &samples[sample_count++];
    size_t name = strspn(line, NAME_CHARS);
    assert_true(name > 0 && name < sizeof(sample->name));
    snprintf(sample->name, sizeof(sample->name), "%.*s", (int)name, line);
    const char *at = line + name;
    sample->labels[0] = 0;
    if (*at == '{') {
        const char *begin = ++at;
        at = skip_label(at);
        while (*at == ',') {
            at = skip_label(at + 1);
        }
        snprintf(sample->labels, sizeof(sample->labels), "%.*s", (int)(at - begin), begin);
        assert_true(*at == '}');
        at++;
    }
    assert_true(*at == ' ');
    char *end = NULL;
    sample->value = strtod(at + 1, &end);
    assert_true(end > at + 1 && *end == 0);
    /* It belongs to the family whose header came last: samples are grouped. */
    assert_true(family_count > 0);
    const char *family = families[family_count - 1];
    assert_memory_equal(sample->name, family, strlen(family));
    const char *suffix = sample->name + strlen(family);
    assert_true(*suffix == 0 || strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_sum") == 0 ||
                strcmp(suffix, "_count") == 0);
    for (size_t i = 0; i + 1 < sample_count; i++) {
        assert_false(strcmp(samples[i].name, sample->name) == 0 &&
                     strcmp(samples[i].labels, sample->labels) == 0);
    }
}

static void parse_header(const char *help, const char *type)
{
    char name[128];
    char kind[32];
    char rest = 0;
    assert_int_equal(sscanf(type, "# TYPE %127s %31s%c", name, kind, &rest), 2);
    assert_true(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0 ||
                strcmp(kind, "histogram") == 0);
    char start[160];
    snprintf(start, sizeof(start), "# HELP %s ", name);
    assert_memory_equal(help, start, strlen(start));
    assert_memory_equal(name, "strongroom_", strlen("strongroom_"));
    if (strcmp(kind, "counter") == 0) {
        assert_string_equal(name + strlen(name) - strlen("_total"), "_total");
    }
    for (size_t i = 0; i < family_count; i++) {
        assert_string_not_equal(families[i], name);
    }
    assert_true(family_count < sizeof(families) / sizeof(families[0]));
    snprintf(families[family_count++], sizeof(families[0]), "%s", name);
}

static void parse_page(struct sr_buf *page)
{
    sample_count = 0;
    family_count = 0;
    assert_int_equal(page->data[page->size - 1], '\n');
    sr_buf_append_u8(page, 0);
    char *save = NULL;
    char *help = NULL;
    for (char *line = strtok_r((char *)page->data, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            help = line;
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            assert_non_null(help);
            parse_header(help, line);
        } else {
            parse_sample(line);
        }
    }
}

static void read_page(void)
{
    struct sr_admin_options options = fake_options();
    struct sr_buf page = {0};
    sr_metrics_page(&options, &page);
    parse_page(&page);
    sr_buf_close(&page);
}

static const struct sample *find(const char *name, const char *labels)
{
    for (size_t i = 0; i < sample_count; i++) {
        if (strcmp(samples[i].name, name) == 0 && strcmp(samples[i].labels, labels) == 0) {
            return &samples[i];
        }
    }
    return NULL;
}

static double value_of(const char *name, const char *labels)
{
    const struct sample *sample = find(name, labels);
    if (sample == NULL) {
        fail_msg("no %s{%s}", name, labels);
        return 0;
    }
    return sample->value;
}

#define expect(name, labels, value) assert_true(value_of("strongroom_" name, labels) == (value))

/* ---- The tests ---- */

static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

static void test_consensus(void **state)
{
    (void)state;
    sr_gauge_set(&fake.consensus.proposals_waiting, 5);
    sr_count(&fake.consensus.proposals_failed, 6);
    sr_count(&fake.consensus.leader_changes, 3);
    read_page();
    expect("has_leader", "", 1);
    expect("is_leader", "", 0);
    expect("leader_changes_total", "", 3);
    expect("term", "", 7);
    expect("last_index", "", 1003);
    expect("commit_index", "", 1002);
    expect("applied_index", "", 1001);
    expect("proposals_pending", "", 5);
    expect("proposals_failed_total", "", 6);

    fake.info.leader = 0;
    read_page();
    expect("has_leader", "", 0);
    fake.info.leader = 1;
    fake.info.is_leader = true;
    read_page();
    expect("is_leader", "", 1);
}

static void test_store(void **state)
{
    (void)state;
    sr_gauge_set(&fake.store.open_views, 4);
    sr_gauge_set(&fake.store.database_bytes, INT64_C(5) << 40);
    read_page();
    expect("revision", "", 42);
    expect("compact_revision", "", -1);
    expect("durable_index", "", 900);
    expect("open_read_views", "", 4);
    expect("db_size_bytes", "", 5497558138880.0);
    expect("has_space", "", 1);
    expect("store_failed", "", 0);
    expect("log_disk_bytes", "", 16 << 20);
    fake.store_status = SR_IO;
    fake.has_space = false;
    read_page();
    expect("store_failed", "", 1);
    expect("has_space", "", 0);
}

static void test_cluster(void **state)
{
    (void)state;
    fake.overview = (struct sr_cluster_overview){.epoch = 9,
                                                 .feature_level = 2,
                                                 .members = 5,
                                                 .voters = 4,
                                                 .healthy_voters = 3,
                                                 .zones_survivable = -1,
                                                 .alarms_corrupt = 2,
                                                 .accused = true,
                                                 .steward = {1, 2, 3, 4}};
    read_page();
    expect("cluster_epoch", "", 9);
    expect("cluster_feature_level", "", 2);
    expect("cluster_members", "", 5);
    expect("cluster_voters", "", 4);
    expect("cluster_healthy_voters", "", 3);
    expect("cluster_zones_survivable", "", -1);
    expect("cluster_alarms", "alarm=\"CORRUPT\"", 2);
    expect("cluster_alarms", "alarm=\"NOSPACE\"", 0);
    expect("replica_accused", "", 1);
    expect("replica_checks_total", "", 1);
    expect("replica_differences_total", "", 2);
    expect("replica_unclear_total", "", 3);
    expect("leader_hand_overs_total", "", 4);
}

static void test_a_point_in_time_keeps_its_milliseconds(void **state)
{
    (void)state;
    struct sr_buf page = {0};
    sr_exposition_real(&page, "last_seconds", "", 1795404640.123);
    sr_buf_append(&page, "", 1);
    assert_non_null(strstr((const char *)page.data, "last_seconds 1795404640.123\n"));
    sr_buf_close(&page);
}

static void test_histogram_is_cumulative(void **state)
{
    (void)state;
    sr_histogram_observe(&fake.log.sync_duration, 10000);              /* 16 us */
    sr_histogram_observe(&fake.log.sync_duration, 20000);              /* 32 us */
    sr_histogram_observe(&fake.log.sync_duration, 30000);              /* 32 us */
    sr_histogram_observe(&fake.log.sync_duration, 60 * 1000000000ULL); /* beyond the last */
    read_page();
    expect("log_fsync_duration_seconds_bucket", "le=\"1.6e-05\"", 1);
    expect("log_fsync_duration_seconds_bucket", "le=\"3.2e-05\"", 3);
    expect("log_fsync_duration_seconds_bucket", "le=\"8.388608\"", 3);
    expect("log_fsync_duration_seconds_bucket", "le=\"+Inf\"", 4);
    expect("log_fsync_duration_seconds_count", "", 4);
    double sum = value_of("strongroom_log_fsync_duration_seconds_sum", "");
    assert_true(fabs(sum - 60.00006) < 1e-6);

    double previous = -1;
    double previous_bound = 0;
    size_t buckets = 0;
    for (size_t i = 0; i < sample_count; i++) {
        if (strcmp(samples[i].name, "strongroom_log_fsync_duration_seconds_bucket") == 0) {
            double bound = strtod(samples[i].labels + strlen("le=\""), NULL);
            assert_true(samples[i].value >= previous && bound > previous_bound);
            previous = samples[i].value;
            previous_bound = bound;
            buckets++;
        }
    }
    assert_int_equal(buckets, SR_HISTOGRAM_BUCKETS);
}

static void test_histograms_that_are_promised(void **state)
{
    (void)state;
    sr_histogram_observe(&fake.consensus.commit_duration, 1);
    sr_histogram_observe(&fake.store.commit_duration, 1);
    sr_histogram_observe(&fake.store.apply_duration, 1);
    sr_histogram_observe(&fake.store.flush_duration, 1);
    read_page();
    expect("commit_duration_seconds_count", "", 1);
    expect("db_commit_duration_seconds_count", "", 1);
    expect("apply_duration_seconds_count", "", 1);
    expect("db_flush_duration_seconds_count", "", 1);
}

static void test_peers(void **state)
{
    (void)state;
    sr_gauge_set(&fake.peers[1].up, 1);
    sr_histogram_observe(&fake.peers[2].round_trip, 1000000);
    read_page();
    expect("peer_up", "peer=\"n2\"", 1);
    expect("peer_up", "peer=\"n3\"", 0);
    assert_null(find("strongroom_peer_up", "peer=\"n1\"")); /* itself */
    expect("peer_round_trip_seconds_count", "peer=\"n3\"", 1);
    expect("peer_round_trip_seconds_bucket", "peer=\"n3\",le=\"+Inf\"", 1);
}

static void stand(void)
{
    fake.has_record = true;
    fake.progress_count = 3;
    for (uint64_t i = 0; i < 3; i++) {
        fake.progress[i] = (struct sr_member_progress){.id = i + 1,
                                                       .role = SR_ROLE_VOTER,
                                                       .up = true,
                                                       .caught_up = i < 2,
                                                       .match_index = 1000 - 100 * i};
    }
    fake.progress[2].image_bytes = 7;
    fake.progress[2].image_total = 70;
}

static void test_standing(void **state)
{
    (void)state;
    stand();
    sr_gauge_set(&fake.image_sender.sending, 1);
    sr_count(&fake.image_receiver.received_bytes, 12);
    read_page();
    expect("member_lag_entries", "member=\"n2\",id=\"0000000000000002\",zone=\"b\"", 100);
    expect("member_caught_up", "member=\"n2\",id=\"0000000000000002\",zone=\"b\"", 1);
    expect("member_image_bytes", "member=\"n\\\"3\",id=\"0000000000000003\",zone=\"c\"", 7);
    expect("alarm", "id=\"0000000000000003\",alarm=\"CORRUPT\"", 1);
    expect("images_sending", "", 1);
    expect("image_received_bytes_total", "", 12);
    fake.progress_count = 0; /* no word of a leader */
    read_page();
    assert_null(find("strongroom_member_up", "member=\"n2\",id=\"0000000000000002\",zone=\"b\""));
}

static void has(const struct sr_buf *page, const char *text)
{
    if (strstr((const char *)page->data, text) == NULL) {
        fail_msg("%s is not in %s", text, (const char *)page->data);
    }
}

static void test_status(void **state)
{
    (void)state;
    struct sr_admin_options options = fake_options();
    struct sr_buf page = {0};
    sr_status_page(&options, &page);
    sr_buf_append_u8(&page, 0);
    has(&page, "\"node\":\"n1\",\"zone\":\"a\",\"cluster\":\"test\"");
    has(&page, "\"zones_survivable\":null");
    has(&page, "\"members\":[],");
    sr_buf_clear(&page);
    stand();
    sr_gauge_set(&fake.image_receiver.receiving, 1);
    sr_gauge_set(&fake.image_receiver.image_bytes, 3);
    sr_status_page(&options, &page);
    sr_buf_append_u8(&page, 0);
    has(&page, "\"zones_survivable\":0");
    has(&page, "\"fetching_image\":{\"bytes\":3,\"total_bytes\":0}");
    has(&page, "{\"id\":\"0000000000000003\",\"name\":\"n\\u00223\",\"zone\":\"c\"");
    has(&page, "\"lag_entries\":200,\"image\":{\"bytes\":7,\"total_bytes\":70}");
    has(&page, "{\"member\":\"0000000000000003\",\"alarm\":\"CORRUPT\",\"index\":77}");
    sr_buf_close(&page);
}

static void test_methods(void **state)
{
    (void)state;
    struct sr_rpc_method_metrics *put = &fake.rpc.methods[0];
    atomic_store(&put->path, "/etcdserverpb.KV/Put");
    sr_count(&put->by_code[SR_GRPC_OK], 9);
    sr_count(&put->by_code[SR_GRPC_UNAVAILABLE], 2);
    sr_histogram_observe(&put->duration, 1);
    atomic_store(&fake.rpc.methods[1].path, "other");
    sr_gauge_set(&fake.rpc.connections, 12);
    read_page();
    expect("client_connections", "", 12);
    expect("grpc_calls_total", "method=\"/etcdserverpb.KV/Put\",code=\"OK\"", 9);
    expect("grpc_calls_total", "method=\"/etcdserverpb.KV/Put\",code=\"Unavailable\"", 2);
    expect("grpc_calls_total", "method=\"other\",code=\"OK\"", 0);
    assert_null(
        find("strongroom_grpc_calls_total", "method=\"/etcdserverpb.KV/Put\",code=\"Internal\""));
    expect("grpc_call_duration_seconds_count", "method=\"/etcdserverpb.KV/Put\"", 1);
}

static void test_process(void **state)
{
    (void)state;
    read_page();
    assert_true(value_of("strongroom_process_cpu_seconds_total", "") > 0);
    double resident = value_of("strongroom_process_resident_memory_bytes", "");
    assert_true(resident > 100000 && resident < 1e11);
    double files = value_of("strongroom_process_open_fds", "");
    assert_true(files >= 3 && files < value_of("strongroom_process_max_fds", ""));
    assert_true(value_of("strongroom_process_threads", "") >= 1);
    double now = (double)time(NULL);
    double start = value_of("strongroom_process_start_time_seconds", "");
    assert_true(start > now - 3600 && start < now + 60);

    int extra = dup(0);
    read_page();
    expect("process_open_fds", "", files + 1);
    close(extra);
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    struct sr_buf labels = {0};
    sr_labels_add(&labels, "a", "say \"x\\y\"\n");
    sr_labels_add(&labels, "b", "");
    assert_string_equal((const char *)labels.data, "a=\"say \\\"x\\\\y\\\"\\n\",b=\"\"");
    assert_int_equal(labels.size, strlen((const char *)labels.data));
    sr_buf_close(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_consensus, setup),
        cmocka_unit_test_setup(test_store, setup),
        cmocka_unit_test_setup(test_cluster, setup),
        cmocka_unit_test(test_a_point_in_time_keeps_its_milliseconds),
        cmocka_unit_test_setup(test_histogram_is_cumulative, setup),
        cmocka_unit_test_setup(test_histograms_that_are_promised, setup),
        cmocka_unit_test_setup(test_peers, setup),
        cmocka_unit_test_setup(test_standing, setup),
        cmocka_unit_test_setup(test_status, setup),
        cmocka_unit_test_setup(test_methods, setup),
        cmocka_unit_test_setup(test_process, setup),
        cmocka_unit_test_setup(test_labels_are_escaped, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
