/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/member.h"

#include <string.h>

#include "proto/limits.h"

static const char https[] = "https://";
static const char http[] = "http://";

#define HOST_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"

bool sr_is_name(const char *text)
{
    size_t size = strlen(text);
    return size >= 1 && size <= SR_NAME_BYTES_MAX &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size && text[0] != '-' &&
           text[size - 1] != '-';
}

static bool is_port(const char *digits)
{
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 5 || digits[count] != 0 || digits[0] == '0') {
        return false;
    }
    unsigned port = 0;
    for (size_t i = 0; i < count; i++) {
        port = port * 10 + (unsigned)(digits[i] - '0');
    }
    return port <= 65535;
}

bool sr_split_address(const char *text, char ret_host[SR_HOST_BYTES_MAX + 1])
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || !is_port(colon + 1)) {
        return false;
    }
    const char *host = text;
    size_t host_size = (size_t)(colon - text);
    bool bracketed = host[0] == '[' && host_size > 2 && host[host_size - 1] == ']';
    if (bracketed) {
        host++;
        host_size -= 2;
    }
    bool has_colon = memchr(host, ':', host_size) != NULL;
    if (host_size > SR_HOST_BYTES_MAX || has_colon != bracketed) {
        return false;
    }
    memcpy(ret_host, host, host_size);
    ret_host[host_size] = 0;
    /* Nothing else is in a name or a number, and it goes into logs, files and terminals. */
    return strspn(ret_host, bracketed ? HOST_CHARACTERS ":%" : HOST_CHARACTERS) == host_size;
}

bool sr_is_address(const char *text)
{
    char host[SR_HOST_BYTES_MAX + 1];
    return sr_split_address(text, host);
}

bool sr_is_client_url(const char *text)
{
    return strncmp(text, https, sizeof(https) - 1) == 0 && sr_is_address(text + sizeof(https) - 1);
}

const char *sr_peer_url_address(const char *text)
{
    const char *address = NULL;
    if (strncmp(text, https, sizeof(https) - 1) == 0) {
        address = text + sizeof(https) - 1;
    } else if (strncmp(text, http, sizeof(http) - 1) == 0) {
        address = text + sizeof(http) - 1;
    }
    return address != NULL && sr_is_address(address) ? address : NULL;
}

static bool is_name_or_vacant(const char *text, bool vacant)
{
    return (vacant && text[0] == 0) || sr_is_name(text);
}

bool sr_is_member(const Strongroom__MemberRecord *member, bool vacant)
{
    if (member->id == 0 || !is_name_or_vacant(member->name, vacant) ||
        !is_name_or_vacant(member->zone, vacant) || !sr_is_address(member->peer_address) ||
        member->n_client_urls > SR_CLIENT_URLS_MAX ||
        (member->token_hash.len != 0 && member->token_hash.len != SR_TOKEN_HASH_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < member->n_client_urls; i++) {
        if (!sr_is_client_url(member->client_urls[i])) {
            return false;
        }
    }
    return true;
}
