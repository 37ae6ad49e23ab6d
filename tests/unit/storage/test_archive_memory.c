/* SPDX-License-Identifier: Apache-2.0
 *
 * 200 MB go through an archive, its verification and a staged state in less than 64 MB of memory.
 * Under a sanitizer, whose own memory would be measured, it is fewer, and nothing is measured.
 */
#include <fcntl.h>
#include <malloc.h>

#include "tests/unit/storage/archive_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VALUES   24
#define MEASURED false
#else
#define VALUES   200
#define MEASURED true
#endif
#define VALUE_BYTES ((size_t)1000 * 1000)
#define BOUND_BYTES ((size_t)64 * 1024 * 1024)

/* ---- Memory that is not a file's ---- */

static size_t in_use(void)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "RssAnon: %zu kB", &kib);
    }
    assert_int_equal(fclose(file), 0);
    assert_true(kib > 0);
    return kib * 1024;
}

struct through {
    int fd;
    size_t before;
    size_t most;
    uint64_t bytes;
};

static struct through begin(const char *path, int flags)
{
    struct through through = {.fd = open(path, flags | O_CLOEXEC, 0600)};
    assert_true(through.fd >= 0);
    (void)malloc_trim(0);
    through.before = in_use();
    return through;
}

static void look(struct through *through)
{
    size_t now = in_use();
    if (now > through->before && now - through->before > through->most) {
        through->most = now - through->before;
    }
}

static void end(struct through *through, const char *what)
{
    look(through);
    assert_int_equal(close(through->fd), 0);
    assert_true(through->bytes > VALUES * VALUE_BYTES / 10 * 9);
    print_message("%s: %zu KiB for %llu MB\n", what, through->most / 1024,
                  (unsigned long long)(through->bytes / 1000000));
    if (MEASURED) {
        assert_true(through->most < BOUND_BYTES);
    }
}

static int put_file(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct through *through = arg;
    look(through);
    through->bytes += size;
    if (write(through->fd, data, size) != (ssize_t)size) {
        return sr_err_set(err, SR_IO, "cannot write");
    }
    return SR_OK;
}

static int get_file(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err)
{
    struct through *through = arg;
    ssize_t got = read(through->fd, data, size);
    look(through);
    if (got < 0) {
        return sr_err_set(err, SR_IO, "cannot read");
    }
    through->bytes += (uint64_t)got;
    *ret_size = (size_t)got;
    return SR_OK;
}

/* ---- The stream ---- */

static void fill_store(struct fixture *fixture)
{
    uint64_t *value = sr_alloc(VALUE_BYTES);
    uint64_t seed = 1;
    char key[32];
    for (int i = 0; i < VALUES; i++) {
        struct sr_bytes bytes = {(const uint8_t *)value, VALUE_BYTES};
        for (size_t word = 0; word < VALUE_BYTES / 8; word++) {
            value[word] = fixture_random(&seed);
        }
        (void)snprintf(key, sizeof(key), "value-%d", i);
        fixture_change(fixture, 0, sr_bytes_of(key), &bytes);
        fixture_publish(fixture);
        if (i % 16 == 0) {
            fixture_flush(fixture);
        }
    }
    fixture_flush(fixture);
    sr_free(value);
}

/* With a full archive, or with changes since the first revision. */
static void write_archive(struct fixture *fixture, const char *path, bool full)
{
    struct through through = begin(path, O_WRONLY | O_CREAT | O_TRUNC);
    struct sr_archive_options options = {.keys = &archive_keys};
    struct sr_archive_sink sink = {.put = put_file, .arg = &through};
    struct sr_archive_info info;
    struct sr_err err = {0};
    int rc = full ? sr_archive_write_full(fixture->store, &options, &sink, &info, &err)
                  : sr_archive_write_changes(fixture->store, 1, 0, &options, &sink, &info, &err);
    fixture_ok(rc, &err);
    end(&through, full ? "write full" : "write changes");
}

static void verify_archive(const char *path)
{
    struct through through = begin(path, O_RDONLY);
    struct sr_archive_source source = {.get = get_file, .arg = &through};
    struct sr_archive_info info;
    struct sr_err err = {0};
    fixture_ok(sr_archive_verify(&source, &archive_keys, &info, &err), &err);
    assert_int_equal(info.versions, VALUES + 1);
    end(&through, "verify");
}

static void stage_archive(struct sr_staged *staged, const char *path, const char *what)
{
    struct through through = begin(path, O_RDONLY);
    struct sr_archive_source source = {.get = get_file, .arg = &through};
    struct sr_err err = {0};
    fixture_ok(sr_staged_put_archive(staged, &source, &archive_keys, NULL, &err), &err);
    end(&through, what);
}

static void archives_of_any_size_take_little_memory(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    char full[128];
    char changes[128];
    struct sr_archive_info info;
    fixture_put(source, "first", "one");
    fixture_flush(source);
    struct sr_buf first = archive_full(source, &info);
    fill_store(source);
    fixture_path(source, "full.sra", full);
    fixture_path(source, "changes.sra", changes);
    write_archive(source, full, true);
    verify_archive(full);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    options.writer.staged_entries_max = 0;
    struct sr_staged *staged = archive_staged(&options);
    stage_archive(staged, full, "stage full");
    struct sr_staged_result result = archive_finish(staged, &target);
    assert_int_equal(result.versions, VALUES + 1);
    fixture_close(&target);
    write_archive(source, changes, false);
    fixture_init(&target);
    options = archive_staged_options(&target);
    options.writer.staged_entries_max = 0;
    staged = archive_staged(&options);
    struct sr_err err = {0};
    fixture_ok(archive_stage(staged, &first, &err), &err);
    stage_archive(staged, changes, "stage changes");
    result = archive_finish(staged, &target);
    assert_int_equal(result.versions, VALUES + 1);
    fixture_close(&target);
    sr_buf_close(&first);
    assert_int_equal(unlink(full), 0);
    assert_int_equal(unlink(changes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(archives_of_any_size_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
