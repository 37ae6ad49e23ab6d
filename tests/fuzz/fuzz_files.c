/* SPDX-License-Identifier: Apache-2.0
 *
 * The small files of a node, which operators and earlier starts leave. The first byte of the input
 * modulo 9 chooses which one the rest is:
 *
 *   0  the configuration
 *   1  a certificate, a private key or a CA: the next byte says which
 *   2  the master key
 *   3  the keyring
 *   4  its list of keys, as it is behind the seal
 *   5  DIR/format
 *   6  the same, with the checksum that it must have
 *   7  DIR/joined, with the digest that it must have
 *   8  DIR/join-peers
 */
#include "storage/keyring.c" /* for its list of keys */

#include <openssl/evp.h>

#include "base/crc32.h"
#include "base/log.h"
#include "node/cluster/joined.h"
#include "node/cluster/rejoin.h"
#include "node/datadir.h"
#include "node/net/tls.h"
#include "scratch.h"
#include "test_pki.h"

#define FORMAT_BYTES_MAX 500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char node[] = "name: n1\n"
                           "data_dir: %s\n"
                           "kek_file: /k\n"
                           "cluster:\n"
                           "  name: records\n"
                           "  members:\n"
                           "    - name: n1\n"
                           "      zone: a\n"
                           "      peer_address: a:1\n"
                           "      client_urls: [\"https://a:2\"]\n"
                           "client: {listen: \"0.0.0.0:2\", tls: {certificate: /c, private_key: "
                           "/k, ca: /a}}\n"
                           "peer: {listen: \"0.0.0.0:1\", tls: {certificate: /c, private_key: "
                           "/k, ca: /a}}\n";

/* Made from a good file, for what is merged into one. */
static struct sr_config *make_config(void)
{
    struct sr_config *config = NULL;
    struct sr_err err;
    char path[PATH_MAX];
    char text[PATH_MAX + sizeof(node)];
    int size = snprintf(text, sizeof(text), node, scratch_dir());
    scratch_write("good.yaml", text, (size_t)size);
    scratch_path("good.yaml", path);
    int status = sr_config_load(path, &config, &err);
    if (status != SR_OK) {
        sr_check_failed(err.text, __FILE__, __LINE__);
    }
    return config;
}

static void load_config(const uint8_t *data, size_t size)
{
    struct sr_config *config = NULL;
    struct sr_err err;
    char path[PATH_MAX];
    scratch_write("config.yaml", data, size);
    scratch_path("config.yaml", path);
    if (sr_config_load(path, &config, &err) == SR_OK) {
        sr_check(config->cluster.members_count >= 1 &&
                 config->cluster.members_count <= SR_MEMBERS_MAX);
        sr_check(strcmp(sr_config_self(config)->name, config->name) == 0);
        sr_config_free(config);
    }
}

/* As the certificate, the key or the CA, by the next byte; the other two are good ones. */
static void load_tls(const uint8_t *data, size_t size)
{
    static bool has_good;
    struct sr_tls *tls = NULL;
    struct sr_err err;
    char paths[3][PATH_MAX];
    if (!has_good) {
        has_good = true;
        test_pki_make_ca(scratch_dir(), "ca");
        test_pki_issue(scratch_dir(), "ca", "node", "node", "node", NULL);
    }
    if (size == 0) {
        return;
    }
    scratch_path("node.crt", paths[0]);
    scratch_path("node.key", paths[1]);
    scratch_path("ca.crt", paths[2]);
    struct sr_tls_files files = {.certificate = paths[0], .private_key = paths[1], .ca = paths[2]};
    scratch_write("pem", data + 1, size - 1);
    scratch_path("pem", paths[data[0] % 3]);
    if (sr_tls_client_new(&files, NULL, &tls, &err) == SR_OK) {
        sr_tls_free(tls);
    }
}

static void load_kek(const uint8_t *data, size_t size)
{
    uint8_t *kek = NULL;
    struct sr_err err;
    char path[PATH_MAX];
    scratch_write("kek", data, size);
    scratch_path("kek", path);
    if (sr_kek_read(path, &kek, &err) == SR_OK) {
        sr_check(size == SR_KEY_BYTES || size / 2 == SR_KEY_BYTES);
        sr_secret_free(kek, SR_KEY_BYTES);
    }
}

static void load_keyring(const uint8_t *data, size_t size)
{
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    char path[PATH_MAX];
    scratch_write("damaged", data, size);
    scratch_path("damaged", path);
    if (sr_keyring_open(path, scratch_kek, SCRATCH_CLUSTER, SCRATCH_MEMBER, &keyring, &err) ==
        SR_OK) {
        sr_keyring_close(keyring);
    }
}

static void load_list(const uint8_t *data, size_t size)
{
    uint8_t key[SR_KEY_BYTES];
    uint8_t *again = sr_secret_alloc(LIST_BYTES);
    struct sr_keyring *keyring = sr_secret_alloc(sizeof(*keyring));
    if (unpack_list(data, size, keyring)) {
        struct sr_err err;
        sr_check(pack_list(keyring, again) == size && memcmp(again, data, size) == 0);
        sr_check(sr_keyring_derive(keyring, sr_keyring_active_id(keyring), "label", data, size, key,
                                   &err) == SR_OK);
    }
    sr_secret_free(again, LIST_BYTES);
    sr_keyring_close(keyring);
}

static void load_format(const uint8_t *data, size_t size, bool is_whole)
{
    char text[FORMAT_BYTES_MAX + 32];
    uint64_t cluster = 0;
    uint64_t member = 0;
    struct sr_err err;
    size = size < FORMAT_BYTES_MAX ? size : FORMAT_BYTES_MAX;
    memcpy(text, data, size);
    if (is_whole) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "crc32=%08x\n",
                                 sr_crc32(text, size));
    }
    scratch_write("format", text, size);
    (void)sr_datadir_identity(scratch_dir(), &cluster, &member, &err);
}

static void load_joined(const uint8_t *data, size_t size)
{
    Strongroom__JoinReply *joined = NULL;
    struct sr_buf file = {0};
    struct sr_err err;
    sr_buf_append(&file, data, size);
    sr_check(EVP_Q_digest(NULL, "SHA256", NULL, data, size, sr_buf_extend(&file, 32), NULL) == 1);
    scratch_write("joined", file.data, file.size);
    sr_buf_close(&file);
    if (sr_joined_read(scratch_dir(), &joined, &err) != SR_OK) {
        return;
    }
    struct sr_config *config = make_config();
    if (sr_joined_take(config, joined, &err) == SR_OK) {
        sr_check(sr_config_self(config)->id == joined->member_id);
        sr_check(config->cluster.members_count <= SR_MEMBERS_MAX);
    }
    sr_config_free(config);
    strongroom__join_reply__free_unpacked(joined, NULL);
}

static void load_peers(const uint8_t *data, size_t size)
{
    struct sr_err err;
    struct sr_config *config = make_config();
    scratch_write("join-peers", data, size);
    if (sr_rejoin_take(config, &err) == SR_OK) {
        sr_check(config->cluster.join != NULL && config->cluster.join->peers_count >= 1 &&
                 config->cluster.join->peers_count <= SR_MEMBERS_MAX);
    }
    sr_config_free(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_set_up;
    if (!is_set_up) {
        is_set_up = true;
        sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    }
    if (size == 0) {
        return 0;
    }
    unsigned which = data[0] % 9;
    data++;
    size--;
    switch (which) {
    case 0:
        load_config(data, size);
        break;
    case 1:
        load_tls(data, size);
        break;
    case 2:
        load_kek(data, size);
        break;
    case 3:
        load_keyring(data, size);
        break;
    case 4:
        load_list(data, size);
        break;
    case 5:
    case 6:
        load_format(data, size, which == 6);
        break;
    case 7:
        load_joined(data, size);
        break;
    default:
        load_peers(data, size);
        break;
    }
    return 0;
}
