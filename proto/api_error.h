/* SPDX-License-Identifier: Apache-2.0
 *
 * The answers that clients know: etcd's gRPC codes and exact texts (clients match on them), and
 * our own where etcd has none.
 */
#ifndef SR_PROTO_API_ERROR_H
#define SR_PROTO_API_ERROR_H

enum sr_grpc_code {
    SR_GRPC_OK = 0,
    SR_GRPC_CANCELLED = 1,
    SR_GRPC_UNKNOWN = 2,
    SR_GRPC_INVALID_ARGUMENT = 3,
    SR_GRPC_DEADLINE_EXCEEDED = 4,
    SR_GRPC_NOT_FOUND = 5,
    SR_GRPC_ALREADY_EXISTS = 6,
    SR_GRPC_PERMISSION_DENIED = 7,
    SR_GRPC_RESOURCE_EXHAUSTED = 8,
    SR_GRPC_FAILED_PRECONDITION = 9,
    SR_GRPC_ABORTED = 10,
    SR_GRPC_OUT_OF_RANGE = 11,
    SR_GRPC_UNIMPLEMENTED = 12,
    SR_GRPC_INTERNAL = 13,
    SR_GRPC_UNAVAILABLE = 14,
    SR_GRPC_DATA_LOSS = 15,
    SR_GRPC_UNAUTHENTICATED = 16
};

/* X(name, code, text) */
#define SR_API_ERRORS(X)                                                                           \
    X(NONE, OK, "")                                                                                \
    X(KEY_NOT_PROVIDED, INVALID_ARGUMENT, "etcdserver: key is not provided")                       \
    X(KEY_NOT_FOUND, INVALID_ARGUMENT, "etcdserver: key not found")                                \
    X(VALUE_PROVIDED, INVALID_ARGUMENT, "etcdserver: value is provided")                           \
    X(LEASE_PROVIDED, INVALID_ARGUMENT, "etcdserver: lease is provided")                           \
    X(TOO_MANY_OPS, INVALID_ARGUMENT, "etcdserver: too many operations in txn request")            \
    X(DUPLICATE_KEY, INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")           \
    X(REQUEST_TOO_LARGE, INVALID_ARGUMENT, "etcdserver: request is too large")                     \
    X(INVALID_SORT, INVALID_ARGUMENT, "etcdserver: invalid sort option")                           \
    X(LEASE_NOT_FOUND, NOT_FOUND, "etcdserver: requested lease not found")                         \
    X(PERMISSION_DENIED, PERMISSION_DENIED, "etcdserver: permission denied")                       \
    X(NO_SPACE, RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")                   \
    X(COMPACTED, OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")           \
    X(FUTURE_REVISION, OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")   \
    X(NO_LEADER, UNAVAILABLE, "etcdserver: no leader")                                             \
    X(LEADER_CHANGED, UNAVAILABLE, "etcdserver: leader changed")                                   \
    X(STOPPED, UNAVAILABLE, "etcdserver: server stopped")                                          \
    X(TIMED_OUT, UNAVAILABLE, "etcdserver: request timed out")                                     \
    X(TIMED_OUT_LEADER, UNAVAILABLE,                                                               \
      "etcdserver: request timed out, possibly due to previous leader failure")                    \
    X(TIMED_OUT_CONNECTION, UNAVAILABLE,                                                           \
      "etcdserver: request timed out, possibly due to connection lost")                            \
    X(TIMED_OUT_APPLY, UNAVAILABLE,                                                                \
      "etcdserver: request timed out, waiting for the applied index took too long")                \
    X(DEADLINE, DEADLINE_EXCEEDED, "context deadline exceeded")                                    \
    X(TOO_MANY_REQUESTS, UNKNOWN, "etcdserver: too many requests")                                 \
    X(CORRUPT, DATA_LOSS, "etcdserver: corrupt cluster")                                           \
    X(NOT_LEADER, FAILED_PRECONDITION, "etcdserver: not leader")                                   \
    X(BAD_TRANSFEREE, FAILED_PRECONDITION, "etcdserver: bad leader transferee")                    \
    X(TRANSFER_TIMED_OUT, UNKNOWN, "etcdserver: request timed out, leader transfer took too long") \
    X(MEMBER_URLS_INVALID, INVALID_ARGUMENT, "etcdserver: given member URLs are invalid")          \
    X(MEMBER_NOT_FOUND, NOT_FOUND, "etcdserver: member not found")                                 \
    X(MEMBER_EXISTS, FAILED_PRECONDITION, "etcdserver: member ID already exist")                   \
    X(PEER_URL_EXISTS, FAILED_PRECONDITION, "etcdserver: Peer URLs already exists")                \
    X(NOT_A_LEARNER, FAILED_PRECONDITION, "etcdserver: can only promote a learner member")         \
    X(LEARNER_NOT_READY, FAILED_PRECONDITION,                                                      \
      "etcdserver: can only promote a learner member which is in sync with leader")                \
    X(TOO_MANY_LEARNERS, FAILED_PRECONDITION, "etcdserver: too many learner members in cluster")   \
    X(NOT_ENOUGH_STARTED, UNKNOWN,                                                                 \
      "etcdserver: re-configuration failed due to not enough started members")                     \
    X(UNHEALTHY, UNAVAILABLE, "etcdserver: unhealthy cluster")                                     \
    X(NOT_FOR_LEARNER, UNAVAILABLE, "etcdserver: rpc not supported for learner")                   \
    X(KEY_TOO_LONG, INVALID_ARGUMENT,                                                              \
      "strongroom: key is longer than 465 bytes, the longest that can be stored")                  \
    X(RESPONSE_TOO_LARGE, RESOURCE_EXHAUSTED,                                                      \
      "strongroom: response is larger than 256 MiB: ask for it in pages, with limit")              \
    X(ANSWER_FORGOTTEN, ALREADY_EXISTS,                                                            \
      "strongroom: the request with this id took effect, its answer was too large to keep")        \
    X(CLUSTER_UNKNOWN, UNAVAILABLE,                                                                \
      "strongroom: the record of the cluster's members is not there yet: try again")               \
    X(CLUSTER_CHANGED, ABORTED,                                                                    \
      "strongroom: the cluster's members have changed meanwhile: look again and repeat")           \
    X(CLUSTER_LEVEL, FAILED_PRECONDITION,                                                          \
      "strongroom: members cannot be changed while one of them runs a version that does not know " \
      "how, or has not been seen yet: upgrade and start all of them")                              \
    X(MEMBER_INVALID, INVALID_ARGUMENT,                                                            \
      "strongroom: the member's name, zone, addresses or token are not valid")                     \
    X(MEMBER_NAME_EXISTS, FAILED_PRECONDITION, "strongroom: another member has this name")         \
    X(MEMBER_REMOVED, FAILED_PRECONDITION,                                                         \
      "strongroom: the id is that of a removed member, which never comes back")                    \
    X(MEMBER_CLAIMED, FAILED_PRECONDITION,                                                         \
      "strongroom: this place in the cluster is already taken")                                    \
    X(TOO_MANY_MEMBERS, FAILED_PRECONDITION, "strongroom: a cluster has at most 9 members")        \
    X(ACCUSED, UNAVAILABLE,                                                                        \
      "strongroom: this node's state differs from that of the other members: it does not serve "   \
      "until it is rebuilt from them")                                                             \
    X(ALARM_INVALID, INVALID_ARGUMENT, "strongroom: unknown alarm")                                \
    X(OFFSITE_UNKNOWN, UNAVAILABLE, "strongroom: the off-site record is not there yet: try again") \
    X(OFFSITE_LEVEL, FAILED_PRECONDITION,                                                          \
      "strongroom: nothing is shipped while a member runs a version that does not know how, or "   \
      "has not been seen yet: upgrade and start all of them")                                      \
    X(OFFSITE_CLAIMED, ABORTED, "strongroom: another member ships this, or has begun to")          \
    X(OFFSITE_LOST, ABORTED, "strongroom: the right to ship this has passed to another member")    \
    X(OFFSITE_FULL, RESOURCE_EXHAUSTED,                                                            \
      "strongroom: the off-site record has no room for more: prune snapshots or forget targets")   \
    X(OFFSITE_NOT_FOUND, NOT_FOUND, "strongroom: the off-site record has no such snapshot")        \
    X(OFFSITE_INVALID, INVALID_ARGUMENT, "strongroom: the off-site change is not valid")           \
    X(STORE_FAILED, UNAVAILABLE,                                                                   \
      "strongroom: this node cannot trust its disk and has stopped serving")

enum sr_api_error {
#define X(name, code, text) SR_API_##name,
    SR_API_ERRORS(X)
#undef X
        SR_API_ERROR_COUNT
};

enum sr_grpc_code sr_api_error_code(enum sr_api_error error);
const char *sr_api_error_text(enum sr_api_error error);

#endif
