/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema is libcyaml's: tables that say which YAML field goes where in struct sr_config.
 * libcyaml explains a refusal through its log, as a sentence and a trace of the fields around it,
 * innermost first. Both are caught here and become one sentence of ours.
 */
#include "node/config/schema.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/archive_key.h" /* SR_RECOVERY_KEYS_MAX */

#define TEXT_MAX 4096 /* a path or an address */

/* The unnamed structs inside struct sr_config. */
#define CLUSTER   __typeof__(((struct sr_config *)0)->cluster)
#define CLIENT    __typeof__(((struct sr_config *)0)->client)
#define PEER      __typeof__(((struct sr_config *)0)->peer)
#define ADMIN     __typeof__(((struct sr_config *)0)->admin)
#define STORAGE   __typeof__(((struct sr_config *)0)->storage)
#define IMAGE     __typeof__(((struct sr_config *)0)->image)
#define LOG       __typeof__(((struct sr_config *)0)->log)
#define RETENTION __typeof__(((struct sr_config_offsite *)0)->retention)

#define REQUIRED  CYAML_FLAG_POINTER
#define OPTIONAL  (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define IF_GIVEN  CYAML_FLAG_OPTIONAL
#define BY_NAME   (CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT)
#define COUNT(of) (sizeof(of) / sizeof((of)[0]))

static const cyaml_schema_field_t tls_fields[] = {
    CYAML_FIELD_STRING_PTR("certificate", REQUIRED, struct sr_config_tls, certificate, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("private_key", REQUIRED, struct sr_config_tls, private_key, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("ca", REQUIRED, struct sr_config_tls, ca, 1, TEXT_MAX), CYAML_FIELD_END};

static const cyaml_schema_value_t url_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, TEXT_MAX)};

static const cyaml_schema_value_t zone_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, TEXT_MAX)};

static const cyaml_schema_field_t member_fields[] = {
    CYAML_FIELD_STRING_PTR("name", REQUIRED, struct sr_config_member, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("zone", REQUIRED, struct sr_config_member, zone, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("peer_address", REQUIRED, struct sr_config_member, peer_address, 1,
                           TEXT_MAX),
    CYAML_FIELD_SEQUENCE("client_urls", REQUIRED, struct sr_config_member, client_urls, &url_value,
                         1, SR_CLIENT_URLS_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_value_t member_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct sr_config_member, member_fields)};

static const cyaml_schema_field_t join_fields[] = {
    CYAML_FIELD_SEQUENCE("peers", REQUIRED, struct sr_config_join, peers, &url_value, 1,
                         SR_MEMBERS_MAX),
    CYAML_FIELD_STRING_PTR("token_file", OPTIONAL, struct sr_config_join, token_file, 1, TEXT_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_field_t cluster_fields[] = {
    CYAML_FIELD_STRING_PTR("name", REQUIRED, CLUSTER, name, 1, TEXT_MAX),
    CYAML_FIELD_SEQUENCE("members", REQUIRED, CLUSTER, members, &member_value, 1, SR_MEMBERS_MAX),
    CYAML_FIELD_MAPPING_PTR("join", OPTIONAL, CLUSTER, join, join_fields),
    CYAML_FIELD_SEQUENCE("preferred_zones", OPTIONAL, CLUSTER, preferred_zones, &zone_value, 1,
                         SR_MEMBERS_MAX),
    CYAML_FIELD_UINT("zones_min", IF_GIVEN, CLUSTER, zones_min),
    CYAML_FIELD_UINT("replica_check_ms", IF_GIVEN, CLUSTER, replica_check_ms),
    CYAML_FIELD_UINT("feature_level", IF_GIVEN, CLUSTER, feature_level),
    CYAML_FIELD_END};

static const cyaml_schema_field_t client_fields[] = {
    CYAML_FIELD_STRING_PTR("listen", REQUIRED, CLIENT, listen, 1, TEXT_MAX),
    CYAML_FIELD_MAPPING("tls", CYAML_FLAG_DEFAULT, CLIENT, tls, tls_fields),
    CYAML_FIELD_UINT("loops", IF_GIVEN, CLIENT, loops),
    CYAML_FIELD_UINT("connections_max", IF_GIVEN, CLIENT, connections_max),
    CYAML_FIELD_UINT("request_timeout_ms", IF_GIVEN, CLIENT, request_timeout_ms),
    CYAML_FIELD_UINT("drain_timeout_ms", IF_GIVEN, CLIENT, drain_timeout_ms),
    CYAML_FIELD_END};

static const cyaml_schema_field_t peer_fields[] = {
    CYAML_FIELD_STRING_PTR("listen", REQUIRED, PEER, listen, 1, TEXT_MAX),
    CYAML_FIELD_MAPPING("tls", CYAML_FLAG_DEFAULT, PEER, tls, tls_fields),
    CYAML_FIELD_UINT("election_timeout_ms", IF_GIVEN, PEER, election_timeout_ms),
    CYAML_FIELD_UINT("tick_ms", IF_GIVEN, PEER, tick_ms), CYAML_FIELD_END};

static const cyaml_schema_field_t admin_fields[] = {
    CYAML_FIELD_STRING_PTR("listen", OPTIONAL, ADMIN, listen, 1, TEXT_MAX),
    CYAML_FIELD_MAPPING_PTR("tls", OPTIONAL, ADMIN, tls, tls_fields), CYAML_FIELD_END};

static const cyaml_schema_field_t storage_fields[] = {
    CYAML_FIELD_UINT("map_bytes", IF_GIVEN, STORAGE, map_bytes),
    CYAML_FIELD_UINT("memtable_entries", IF_GIVEN, STORAGE, memtable_entries),
    CYAML_FIELD_UINT("unindexed_entries", IF_GIVEN, STORAGE, unindexed_entries),
    CYAML_FIELD_UINT("memtable_bytes", IF_GIVEN, STORAGE, memtable_bytes),
    CYAML_FIELD_UINT("disk_reserve_bytes", IF_GIVEN, STORAGE, disk_reserve_bytes),
    CYAML_FIELD_UINT("log_segment_bytes", IF_GIVEN, STORAGE, log_segment_bytes),
    CYAML_FIELD_UINT("log_keep_bytes", IF_GIVEN, STORAGE, log_keep_bytes),
    CYAML_FIELD_UINT("log_keep_entries", IF_GIVEN, STORAGE, log_keep_entries),
    CYAML_FIELD_END};

static const cyaml_schema_field_t image_fields[] = {
    CYAML_FIELD_UINT("bytes_per_second", IF_GIVEN, IMAGE, bytes_per_second), CYAML_FIELD_END};

static const cyaml_strval_t levels[] = {
    {"debug", SR_LOG_DEBUG}, {"info", SR_LOG_INFO}, {"warn", SR_LOG_WARN}, {"error", SR_LOG_ERROR}};
static const cyaml_strval_t formats[] = {{"logfmt", SR_LOG_LOGFMT}, {"json", SR_LOG_JSON}};

static const cyaml_schema_field_t log_fields[] = {
    CYAML_FIELD_ENUM("level", BY_NAME, LOG, level, levels, COUNT(levels)),
    CYAML_FIELD_ENUM("format", BY_NAME, LOG, format, formats, COUNT(formats)), CYAML_FIELD_END};

static const cyaml_strval_t locks[] = {{"none", SR_TARGET_LOCK_NONE},
                                       {"governance", SR_TARGET_LOCK_GOVERNANCE},
                                       {"compliance", SR_TARGET_LOCK_COMPLIANCE}};
static const cyaml_strval_t encryptions[] = {
    {"none", SR_TARGET_SSE_NONE}, {"aes256", SR_TARGET_SSE_AES256}, {"kms", SR_TARGET_SSE_KMS}};

#define TARGET              struct sr_config_target
#define TARGET_TEXT(name)   CYAML_FIELD_STRING_PTR(#name, OPTIONAL, TARGET, name, 1, TEXT_MAX)
#define TARGET_NUMBER(name) CYAML_FIELD_UINT(#name, IF_GIVEN, TARGET, name)
#define OFFSITE_LIST(name, of, max)                                                                \
    CYAML_FIELD_SEQUENCE(#name, OPTIONAL, struct sr_config_offsite, name, of, 1, max)

static const cyaml_schema_field_t target_fields[] = {
    CYAML_FIELD_STRING_PTR("name", REQUIRED, TARGET, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("url", REQUIRED, TARGET, url, 1, TEXT_MAX),
    TARGET_TEXT(region),
    TARGET_TEXT(endpoint),
    CYAML_FIELD_BOOL("virtual_host", IF_GIVEN, TARGET, virtual_host),
    TARGET_TEXT(credentials_file),
    TARGET_TEXT(credentials_command),
    TARGET_TEXT(profile),
    TARGET_TEXT(storage_class),
    CYAML_FIELD_ENUM("sse", BY_NAME, TARGET, sse, encryptions, COUNT(encryptions)),
    TARGET_TEXT(sse_kms_key),
    CYAML_FIELD_ENUM("lock", BY_NAME, TARGET, lock, locks, COUNT(locks)),
    TARGET_NUMBER(lock_days),
    CYAML_FIELD_BOOL("checksum_sha256", IF_GIVEN, TARGET, checksum_sha256),
    TARGET_TEXT(proxy),
    TARGET_TEXT(ca_file),
    TARGET_NUMBER(parts_parallel),
    TARGET_NUMBER(part_bytes),
    TARGET_NUMBER(bytes_per_second),
    TARGET_NUMBER(connect_timeout_ms),
    TARGET_NUMBER(stall_timeout_ms),
    TARGET_NUMBER(attempts),
    CYAML_FIELD_END};

static const cyaml_schema_value_t target_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, TARGET, target_fields)};
static const cyaml_schema_value_t text_value = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, TEXT_MAX)};

static const cyaml_schema_field_t retention_fields[] = {
    CYAML_FIELD_UINT("last", IF_GIVEN, RETENTION, last),
    CYAML_FIELD_UINT("daily", IF_GIVEN, RETENTION, daily),
    CYAML_FIELD_UINT("monthly", IF_GIVEN, RETENTION, monthly),
    CYAML_FIELD_UINT("yearly", IF_GIVEN, RETENTION, yearly),
    CYAML_FIELD_UINT("changes_days", IF_GIVEN, RETENTION, changes_days),
    CYAML_FIELD_END};

static const cyaml_schema_field_t offsite_fields[] = {
    CYAML_FIELD_SEQUENCE("targets", REQUIRED, struct sr_config_offsite, targets, &target_value, 1,
                         SR_OFFSITE_TARGETS_MAX),
    CYAML_FIELD_SEQUENCE("recovery_keys", REQUIRED, struct sr_config_offsite, recovery_keys,
                         &text_value, 1, SR_RECOVERY_KEYS_MAX),
    OFFSITE_LIST(regions_allowed, &text_value, SR_OFFSITE_REGIONS_MAX),
    OFFSITE_LIST(times, &text_value, SR_OFFSITE_TIMES_MAX),
    CYAML_FIELD_UINT("every_ms", IF_GIVEN, struct sr_config_offsite, every_ms),
    CYAML_FIELD_UINT("spread_ms", IF_GIVEN, struct sr_config_offsite, spread_ms),
    CYAML_FIELD_UINT("changes_every_ms", IF_GIVEN, struct sr_config_offsite, changes_every_ms),
    CYAML_FIELD_UINT("claim_timeout_ms", IF_GIVEN, struct sr_config_offsite, claim_timeout_ms),
    CYAML_FIELD_BOOL("drill", IF_GIVEN, struct sr_config_offsite, drill),
    CYAML_FIELD_UINT("drill_every_ms", IF_GIVEN, struct sr_config_offsite, drill_every_ms),
    CYAML_FIELD_MAPPING("retention", IF_GIVEN, struct sr_config_offsite, retention,
                        retention_fields),
    CYAML_FIELD_END};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_STRING_PTR("name", REQUIRED, struct sr_config, name, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("data_dir", REQUIRED, struct sr_config, data_dir, 1, TEXT_MAX),
    CYAML_FIELD_STRING_PTR("kek_file", REQUIRED, struct sr_config, kek_file, 1, TEXT_MAX),
    CYAML_FIELD_MAPPING("cluster", CYAML_FLAG_DEFAULT, struct sr_config, cluster, cluster_fields),
    CYAML_FIELD_MAPPING("client", CYAML_FLAG_DEFAULT, struct sr_config, client, client_fields),
    CYAML_FIELD_MAPPING("peer", CYAML_FLAG_DEFAULT, struct sr_config, peer, peer_fields),
    CYAML_FIELD_MAPPING("admin", IF_GIVEN, struct sr_config, admin, admin_fields),
    CYAML_FIELD_MAPPING("storage", IF_GIVEN, struct sr_config, storage, storage_fields),
    CYAML_FIELD_MAPPING("image", IF_GIVEN, struct sr_config, image, image_fields),
    CYAML_FIELD_MAPPING_PTR("offsite", OPTIONAL, struct sr_config, offsite, offsite_fields),
    CYAML_FIELD_MAPPING("log", IF_GIVEN, struct sr_config, log, log_fields),
    CYAML_FIELD_END};

static const cyaml_schema_value_t config_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct sr_config, config_fields)};

/* ---- What libcyaml says ---- */

#define TRACE_MAX 16

struct complaint {
    char sentence[256];
    struct {
        char field[64]; /* "" for an entry of a list */
        unsigned index; /* from 0 */
    } trace[TRACE_MAX]; /* innermost first */
    size_t trace_count;
};

static void note_trace(struct complaint *complaint, const char *line)
{
    static const char in_field[] = "in mapping field '";
    static const char in_entry[] = "in sequence entry '";
    static const char in_mapping[] = "in mapping (";
    if (complaint->trace_count == TRACE_MAX) {
        return;
    }
    if (strstr(line, in_mapping) != NULL) { /* before its first field, or after an unknown one */
        complaint->trace_count++;
        return;
    }
    const char *found = strstr(line, in_field);
    if (found != NULL) {
        const char *name = found + sizeof(in_field) - 1;
        char *out = complaint->trace[complaint->trace_count++].field;
        snprintf(out, sizeof(complaint->trace[0].field), "%.*s", (int)strcspn(name, "'"), name);
        return;
    }
    found = strstr(line, in_entry);
    if (found != NULL) {
        unsigned long number = strtoul(found + sizeof(in_entry) - 1, NULL, 10);
        complaint->trace[complaint->trace_count++].index = (unsigned)(number > 0 ? number - 1 : 0);
    }
}

__attribute__((format(printf, 3, 0))) static void on_log(cyaml_log_t level, void *arg,
                                                         const char *format, va_list arguments)
{
    (void)level;
    struct complaint *complaint = arg;
    char line[512];
    vsnprintf(line, sizeof(line), format, arguments);
    line[strcspn(line, "\n")] = 0;
    note_trace(complaint, line);
    static const char prefix[] = "Load: ";
    if (complaint->sentence[0] == 0 && strncmp(line, prefix, sizeof(prefix) - 1) == 0) {
        snprintf(complaint->sentence, sizeof(complaint->sentence), "%.250s",
                 line + sizeof(prefix) - 1);
    }
}

static void *memory(void *arg, void *pointer, size_t size)
{
    (void)arg;
    if (size == 0) {
        sr_free(pointer);
        return NULL;
    }
    return sr_realloc(pointer, size);
}

static cyaml_config_t settings(struct complaint *complaint)
{
    return (cyaml_config_t){.log_fn = on_log,
                            .log_ctx = complaint,
                            .log_level = CYAML_LOG_ERROR,
                            .mem_fn = memory,
                            .flags = CYAML_CFG_NO_ALIAS};
}

/* ---- What we make of it ---- */

/* The path that the trace gives, without its innermost @from steps. */
static void trace_path(const struct complaint *complaint, size_t from, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = complaint->trace_count; i > from; i--) {
        int n = complaint->trace[i - 1].field[0] != 0
                    ? snprintf(out + used, size - used, "%s%s", used == 0 ? "" : ".",
                               complaint->trace[i - 1].field)
                    : snprintf(out + used, size - used, "[%u]", complaint->trace[i - 1].index);
        used += (size_t)n;
        if (used >= size) {
            return;
        }
    }
}

/* The path of the field @name, of the mapping that the innermost step is in. */
static void named_path(const struct complaint *complaint, const char *name, char *out, size_t size)
{
    char around[SR_CONFIG_PATH_MAX / 2];
    trace_path(complaint, 1, around, sizeof(around));
    snprintf(out, size, "%s%s%.100s", around, around[0] == 0 ? "" : ".", name);
}

static const char *names_of(const char *path)
{
    return strcmp(path, "log.level") == 0    ? "one of debug, info, warn, error"
           : strcmp(path, "log.format") == 0 ? "one of logfmt, json"
           : strstr(path, ".sse") != NULL    ? "one of none, aes256, kms"
                                             : "one of none, governance, compliance";
}

static int entries_max(const char *path)
{
    static const struct {
        const char *field;
        int max;
    } lists[] = {{"client_urls", SR_CLIENT_URLS_MAX},
                 {"targets", SR_OFFSITE_TARGETS_MAX},
                 {"recovery_keys", SR_RECOVERY_KEYS_MAX},
                 {"regions_allowed", SR_OFFSITE_REGIONS_MAX},
                 {"offsite.times", SR_OFFSITE_TIMES_MAX}};
    for (size_t i = 0; i < COUNT(lists); i++) {
        if (strstr(path, lists[i].field) != NULL) {
            return lists[i].max;
        }
    }
    return SR_MEMBERS_MAX;
}

/* "Expecting SEQUENCE, got event: SCALAR" names the type in libcyaml's words. */
static const char *type_wanted(const char *sentence)
{
    if (strstr(sentence, "Expecting MAPPING") != NULL) {
        return "a mapping of fields";
    }
    if (strstr(sentence, "Expecting SEQUENCE") != NULL) {
        return "a list";
    }
    return "a single value";
}

static int refuse_value(const struct sr_config_source *source, const struct complaint *complaint,
                        struct sr_err *err)
{
    char path[SR_CONFIG_PATH_MAX];
    trace_path(complaint, 0, path, sizeof(path));
    if (strstr(complaint->sentence, "Invalid ENUM") != NULL) {
        return sr_config_refuse(source, err, path, "must be %s", names_of(path));
    }
    return sr_config_refuse(source, err, path, "must be %s", type_wanted(complaint->sentence));
}

static int explain(const struct sr_config_source *source, const struct complaint *complaint,
                   cyaml_err_t code, struct sr_err *err)
{
    char path[SR_CONFIG_PATH_MAX];
    const char *colon = strstr(complaint->sentence, ": ");
    const char *name = colon == NULL ? "" : colon + 2;
    switch (code) {
    case CYAML_ERR_INVALID_KEY:
        named_path(complaint, name, path, sizeof(path));
        return sr_config_refuse(source, err, path, "unknown field");
    case CYAML_ERR_MAPPING_FIELD_MISSING:
        named_path(complaint, name, path, sizeof(path));
        return sr_config_refuse(source, err, path, "missing");
    case CYAML_ERR_INVALID_VALUE:
        return refuse_value(source, complaint, err);
    case CYAML_ERR_STRING_LENGTH_MIN:
        trace_path(complaint, 0, path, sizeof(path));
        return sr_config_refuse(source, err, path, "must not be empty");
    case CYAML_ERR_STRING_LENGTH_MAX:
        trace_path(complaint, 0, path, sizeof(path));
        return sr_config_refuse(source, err, path, "longer than %d bytes", TEXT_MAX);
    case CYAML_ERR_SEQUENCE_ENTRIES_MIN:
        trace_path(complaint, 1, path, sizeof(path));
        return sr_config_refuse(source, err, path, "needs at least one entry");
    case CYAML_ERR_SEQUENCE_ENTRIES_MAX:
        trace_path(complaint, 1, path, sizeof(path));
        return sr_config_refuse(source, err, path, "at most %d entries", entries_max(path));
    default:
        trace_path(complaint, 0, path, sizeof(path));
        return sr_config_refuse(source, err, path, "%s", complaint->sentence);
    }
}

int sr_config_schema_load(const struct sr_config_source *source, struct sr_config **ret,
                          struct sr_err *err)
{
    struct complaint complaint = {0};
    cyaml_config_t config = settings(&complaint);
    cyaml_data_t *data = NULL;
    cyaml_err_t code =
        cyaml_load_data(source->text.data, source->text.size, &config, &config_value, &data, NULL);
    if (code != CYAML_OK) {
        return explain(source, &complaint, code, err);
    }
    *ret = data;
    return SR_OK;
}

void sr_config_schema_free(struct sr_config *config)
{
    struct complaint complaint = {0};
    cyaml_config_t settings_used = settings(&complaint);
    cyaml_free(&settings_used, &config_value, config, 0);
}
