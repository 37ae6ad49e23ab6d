/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server that should be S3 may answer, and what a credentials command may print. The first
 * byte chooses.
 */
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "node/offsite/credentials.h"
#include "node/offsite/s3_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every element closes inside the one that is named with it. */
static int see(void *arg, const char *parent, const char *name, const char *text,
               struct sr_err *err)
{
    size_t *count = arg;
    (void)err;
    sr_check(name[0] != 0 && strlen(parent) < 64 && strlen(text) < SR_S3_TEXT_MAX);
    return ++*count > 10000 ? SR_LIMIT : SR_OK;
}

static void read_answer(const uint8_t *data, size_t size)
{
    size_t count = 0;
    struct sr_s3_error error;
    int status = sr_s3_xml_read((struct sr_bytes){data, size}, see, &count, NULL);
    sr_check(status != SR_OK || count > 0);
    sr_s3_xml_error((struct sr_bytes){data, size}, &error);
    sr_check(strpbrk(error.code, " \r\n<>\"") == NULL &&
             strpbrk(error.region, " \r\n<>\"") == NULL);
}

/* What is taken can go into a header. */
static void read_credentials(const uint8_t *data, size_t size)
{
    static struct sr_credentials *got;
    if (got == NULL) {
        got = sr_secret_alloc(sizeof(*got));
    }
    if (sr_credentials_parse((const char *)data, size, "default", got, NULL) == SR_OK) {
        sr_check(got->access_key[0] != 0 && got->secret_key[0] != 0);
        sr_check(strpbrk(got->session_token, " \r\n") == NULL);
        sr_check(strpbrk(got->access_key, " \r\n") == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] & 1) {
        read_answer(data + 1, size - 1);
    } else {
        read_credentials(data + 1, size - 1);
    }
    return 0;
}
