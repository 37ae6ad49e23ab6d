/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/api_error.h"

#include "base/check.h"

static const struct {
    enum sr_grpc_code code;
    const char *text;
} errors[] = {
#define X(name, code, text) {SR_GRPC_##code, text},
    SR_API_ERRORS(X)
#undef X
};

enum sr_grpc_code sr_api_error_code(enum sr_api_error error)
{
    sr_check((unsigned)error < SR_API_ERROR_COUNT);
    return errors[error].code;
}

const char *sr_api_error_text(enum sr_api_error error)
{
    sr_check((unsigned)error < SR_API_ERROR_COUNT);
    return errors[error].text;
}
