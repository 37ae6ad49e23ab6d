/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/join_match.h"

#include <string.h>

#include "node/cluster/token.h"
#include "proto/member.h"

static bool has_hash(const Strongroom__MemberRecord *place, const uint8_t hash[SR_TOKEN_HASH_BYTES])
{
    return place->token_hash.len == SR_TOKEN_HASH_BYTES &&
           memcmp(place->token_hash.data, hash, SR_TOKEN_HASH_BYTES) == 0;
}

/* Taken by the asker itself: the answer to that was lost. */
static bool is_own(const Strongroom__MemberRecord *place, const struct sr_join_asker *asker)
{
    return place->feature_level > 0 && has_hash(place, asker->claim);
}

static bool fits_token(const Strongroom__MemberRecord *place,
                       const Strongroom__JoinRequest *request)
{
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    sr_token_hash((const char *)request->token.data, request->token.len, hash);
    return place->feature_level == 0 && has_hash(place, hash);
}

/* With a token, the place that it opens or has opened; without, the one of that address. */
static size_t find(const Strongroom__ClusterRecord *record, const Strongroom__JoinRequest *request,
                   const struct sr_join_asker *asker)
{
    for (size_t i = 0; i < record->n_members; i++) {
        const Strongroom__MemberRecord *place = record->members[i];
        bool fits = request->token.len > 0
                        ? fits_token(place, request) || is_own(place, asker)
                        : strcmp(place->peer_address, request->peer_address) == 0;
        if (fits) {
            return i;
        }
    }
    return record->n_members;
}

/* What the cluster acts at: nobody may come in who knows less. */
static uint32_t level_of(const Strongroom__ClusterRecord *record)
{
    uint32_t level = UINT32_MAX;
    for (size_t i = 0; i < record->n_members; i++) {
        uint32_t one = record->members[i]->feature_level;
        level = one > 0 && one < level ? one : level;
    }
    return level == UINT32_MAX ? 0 : level;
}

static int check_place(const Strongroom__MemberRecord *place,
                       const Strongroom__JoinRequest *request, const struct sr_join_asker *asker,
                       struct sr_err *err)
{
    if (place->feature_level > 0 && !is_own(place, asker)) {
        return sr_err_set(err, SR_REFUSED,
                          "the place is taken already: if its node has lost its data, remove the "
                          "member and add it anew");
    }
    if (place->feature_level == 0 && place->token_hash.len > 0 && request->token.len == 0) {
        return sr_err_set(err, SR_REFUSED,
                          "the place needs the token that \"member add\" has told");
    }
    if (place->name[0] != '\0' && strcmp(place->name, request->name) != 0) {
        return sr_err_set(err, SR_REFUSED, "the place is that of \"%.63s\"", place->name);
    }
    if (place->zone[0] != '\0' && strcmp(place->zone, request->zone) != 0) {
        return sr_err_set(err, SR_REFUSED, "the place is in zone \"%.63s\"", place->zone);
    }
    if (strcmp(place->peer_address, request->peer_address) != 0) {
        return sr_err_set(err, SR_REFUSED, "the place is that of the address %.200s",
                          place->peer_address);
    }
    return SR_OK;
}

size_t sr_join_match(const Strongroom__ClusterRecord *record,
                     const Strongroom__JoinRequest *request, const struct sr_join_asker *asker,
                     struct sr_err *err)
{
    uint32_t level = level_of(record);
    if (!sr_is_name(request->name) || !sr_is_name(request->zone) ||
        !sr_is_address(request->peer_address)) {
        sr_err_set(err, SR_REFUSED, "name, zone or address is malformed");
        return record->n_members;
    }
    if (!asker->has_name) {
        sr_err_set(err, SR_REFUSED, "the certificate does not carry the name %.63s", request->name);
        return record->n_members;
    }
    if (request->feature_level < level) {
        sr_err_set(err, SR_REFUSED,
                   "feature level %u is too low, the cluster acts at %u: use a newer version",
                   request->feature_level, level);
        return record->n_members;
    }
    size_t at = find(record, request, asker);
    if (at == record->n_members) {
        sr_err_set(err, SR_REFUSED,
                   request->token.len > 0 ? "no place waits for this token"
                                          : "no place was made for the address %.200s",
                   request->peer_address);
        return record->n_members;
    }
    return check_place(record->members[at], request, asker, err) == SR_OK ? at : record->n_members;
}
