/* SPDX-License-Identifier: Apache-2.0
 *
 * The payload of a log entry: a batch that opens gives all of its commands, within its bounds.
 */
#include "base/check.h"
#include "proto/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sr_batch_reader batch;
    struct sr_err err;
    if (sr_batch_open(&batch, data, size, &err) != SR_OK) {
        return 0;
    }
    struct sr_bytes command;
    struct sr_buf again = {0};
    sr_batch_begin(&again, batch.term);
    again.data[2] = data[2]; /* compatible features are passed over, whatever they say */
    while (sr_batch_next(&batch, &command)) {
        sr_batch_add(&again, command.data, command.size);
    }
    sr_check(
        sr_bytes_equal((struct sr_bytes){again.data, again.size}, (struct sr_bytes){data, size}));
    sr_buf_close(&again);
    return 0;
}
