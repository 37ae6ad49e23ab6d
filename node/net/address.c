/* SPDX-License-Identifier: Apache-2.0 */
#include "node/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_port(const char *text, const char *port, struct sr_err *err)
{
    size_t digits = strspn(port, "0123456789");
    if (digits == 0 || digits > 5 || port[digits] != '\0' || strtoul(port, NULL, 10) > 65535) {
        return sr_err_set(err, SR_INVALID, "address \"%.300s\": the port must be 0 to 65535", text);
    }
    return SR_OK;
}

int sr_address_split(const char *text, char ret_host[SR_HOST_TEXT_MAX], char ret_port[6],
                     struct sr_err *err)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return sr_err_set(err, SR_INVALID, "address \"%.300s\": expected host:port", text);
    }
    const char *host = text;
    size_t host_size = (size_t)(colon - text);
    if (host_size >= 2 && host[0] == '[' && colon[-1] == ']') {
        host++;
        host_size -= 2;
    } else if (memchr(host, ':', host_size) != NULL) {
        return sr_err_set(err, SR_INVALID, "address \"%.300s\": write IPv6 as [host]:port", text);
    }
    if (host_size == 0 || host_size >= SR_HOST_TEXT_MAX) {
        return sr_err_set(err, SR_INVALID, "address \"%.300s\": expected host:port", text);
    }
    int status = check_port(text, colon + 1, err);
    if (status != SR_OK) {
        return status;
    }
    memcpy(ret_host, host, host_size);
    ret_host[host_size] = '\0';
    memcpy(ret_port, colon + 1, strlen(colon + 1) + 1);
    return SR_OK;
}

static int look_up(const char *text, int flags, struct sockaddr_storage *ret_address,
                   struct sr_err *err)
{
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    int status = sr_address_split(text, host, port, err);
    if (status != SR_OK) {
        return status;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = AI_NUMERICSERV | flags;
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure != 0) {
        bool numeric = (flags & AI_NUMERICHOST) != 0;
        return sr_err_set(err, numeric ? SR_NOT_FOUND : SR_NETWORK, "look up \"%.255s\": %s", host,
                          gai_strerror(failure));
    }
    memset(ret_address, 0, sizeof(*ret_address));
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return SR_OK;
}

int sr_address_resolve(const char *text, struct sockaddr_storage *ret_address, struct sr_err *err)
{
    return look_up(text, 0, ret_address, err);
}

int sr_address_numeric(const char *text, struct sockaddr_storage *ret_address, struct sr_err *err)
{
    return look_up(text, AI_NUMERICHOST, ret_address, err);
}

void sr_address_format(const struct sockaddr *address, char out[SR_ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        if (inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host)) != NULL) {
            snprintf(out, SR_ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(in.sin_port));
            return;
        }
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof(in6));
        if (inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host)) != NULL) {
            snprintf(out, SR_ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(in6.sin6_port));
            return;
        }
    }
    snprintf(out, SR_ADDRESS_TEXT_MAX, "?");
}

socklen_t sr_address_size(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                          : sizeof(struct sockaddr_in);
}
