/* SPDX-License-Identifier: Apache-2.0 */
#include "node/state/answer.h"

#include <sys/random.h>

#include "base/alloc.h"
#include "base/check.h"

void sr_answer_free(struct sr_answer *answer)
{
    if (answer == NULL) {
        return;
    }
    sr_buf_close(&answer->body);
    sr_free(answer);
}

uint64_t sr_origins_add(struct sr_origins *origins, struct sr_mailbox *mailbox)
{
    sr_check(origins->count < SR_ORIGINS_MAX);
    uint64_t origin = 0;
    do {
        sr_check(getrandom(&origin, sizeof(origin), 0) == (ssize_t)sizeof(origin));
    } while (origin == 0 || sr_origins_find(origins, origin) != NULL);
    origins->entries[origins->count].origin = origin;
    origins->entries[origins->count].mailbox = mailbox;
    origins->count++;
    return origin;
}

struct sr_mailbox *sr_origins_find(const struct sr_origins *origins, uint64_t origin)
{
    for (size_t i = 0; i < origins->count; i++) {
        if (origins->entries[i].origin == origin) {
            return origins->entries[i].mailbox;
        }
    }
    return NULL;
}

void sr_origins_answer(const struct sr_origins *origins, uint64_t origin, uint64_t sequence,
                       enum sr_api_error error, uint64_t index)
{
    struct sr_mailbox *mailbox = sr_origins_find(origins, origin);
    if (mailbox == NULL) {
        return;
    }
    struct sr_answer *answer = sr_zalloc(sizeof(*answer));
    answer->sequence = sequence;
    answer->error = error;
    answer->index = index;
    sr_mailbox_post_always(mailbox, &answer->mail);
}
