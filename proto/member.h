/* SPDX-License-Identifier: Apache-2.0
 *
 * What names and addresses of members may look like: in the configuration of a node, in requests
 * and in the cluster record. Pure functions for any thread; texts end with a 0.
 */
#ifndef SR_PROTO_MEMBER_H
#define SR_PROTO_MEMBER_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/cluster.pb-c.h"

#define SR_NAME_BYTES_MAX    63  /* of a DNS label (RFC 1035) */
#define SR_HOST_BYTES_MAX    253 /* of a DNS name */
#define SR_ADDRESS_BYTES_MAX 261 /* a host in brackets, ':' and a port */
#define SR_URL_BYTES_MAX     (SR_ADDRESS_BYTES_MAX + 8)

/* A name of a member, a zone or a cluster: a-z, 0-9 and '-', the first and last not '-'. */
bool sr_is_name(const char *text);
/* Split "host:port" or "[v6]:port", the port from 1 to 65535; false when it is neither. */
bool sr_split_address(const char *text, char ret_host[SR_HOST_BYTES_MAX + 1]);
bool sr_is_address(const char *text);
/* https://host:port, without a path. */
bool sr_is_client_url(const char *text);
/* The address in a peer URL of etcd's tools, http:// or https://; NULL when it is none. Links
 * between members are always TLS, whatever the scheme says. */
const char *sr_peer_url_address(const char *text);

/* Whether the texts, counts and sizes of @member are within what the record takes. Names and
 * zones may be empty when @vacant, as in a place that nobody has claimed yet. */
bool sr_is_member(const Strongroom__MemberRecord *member, bool vacant);

#endif
