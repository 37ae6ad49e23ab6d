/* SPDX-License-Identifier: Apache-2.0
 *
 * What the log keeps of libraft's last snapshot:
 *
 *   format u8 = 1, index u64, term u64, configuration index u64,
 *   length u32 and configuration (libraft's encoding), length u32 and data
 */
#include "node/consensus/internal.h"

#define MANIFEST_FORMAT 1

void sr_core_manifest_pack(const struct sr_core_manifest *manifest, struct sr_buf *out)
{
    sr_buf_append_u8(out, MANIFEST_FORMAT);
    sr_buf_append_u64(out, manifest->index);
    sr_buf_append_u64(out, manifest->term);
    sr_buf_append_u64(out, manifest->configuration_index);
    sr_buf_append_u32(out, (uint32_t)manifest->configuration.size);
    sr_buf_append(out, manifest->configuration.data, manifest->configuration.size);
    sr_buf_append_u32(out, (uint32_t)manifest->data.size);
    sr_buf_append(out, manifest->data.data, manifest->data.size);
}

int sr_core_manifest_unpack(struct sr_bytes data, struct sr_core_manifest *ret_manifest,
                            struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data.data, data.size);
    uint8_t format = sr_read_u8(&reader);
    struct sr_core_manifest manifest = {0};
    manifest.index = sr_read_u64(&reader);
    manifest.term = sr_read_u64(&reader);
    manifest.configuration_index = sr_read_u64(&reader);
    manifest.configuration = sr_read_bytes(&reader, sr_read_u32(&reader));
    manifest.data = sr_read_bytes(&reader, sr_read_u32(&reader));
    if (reader.failed || sr_reader_left(&reader) > 0) {
        return sr_err_set(err, SR_CORRUPT, "log manifest: %zu bytes are not one", data.size);
    }
    if (format != MANIFEST_FORMAT) {
        return sr_err_set(err, SR_FORMAT, "log manifest: format %u is not known", format);
    }
    if (manifest.index == 0 || manifest.term == 0 || manifest.configuration_index == 0 ||
        manifest.configuration_index > manifest.index) {
        return sr_err_set(err, SR_CORRUPT,
                          "log manifest: index %llu, term %llu, configuration %llu",
                          (unsigned long long)manifest.index, (unsigned long long)manifest.term,
                          (unsigned long long)manifest.configuration_index);
    }
    if (sr_core_configuration_check(manifest.configuration, err) != SR_OK) {
        return sr_err_prefix(err, "log manifest");
    }
    *ret_manifest = manifest;
    return SR_OK;
}
