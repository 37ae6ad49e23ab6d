/* SPDX-License-Identifier: Apache-2.0
 *
 * Every maximum of the product, and why it is what it is. What happens at each bound is decided
 * where it is enforced: a clear error, or reading stops until there is room.
 */
#ifndef SR_PROTO_LIMITS_H
#define SR_PROTO_LIMITS_H

/* ---- Client requests ---- */

/* LMDB keys are at most 511 bytes: 31 cipher blocks of 15 + 1 bytes, and 8 bytes of revision. */
#define SR_KEY_BYTES_MAX 465
/* etcd's --max-request-bytes: what one replicated command may weigh. */
#define SR_REQUEST_BYTES_MAX (1536 * 1024)
/* etcd's gRPC bound: the request limit and 512 KiB of overhead. */
#define SR_MESSAGE_BYTES_MAX (2048 * 1024)
/* etcd's --max-txn-ops. A nested transaction gets what its parent has left. */
#define SR_TXN_OPS_MAX 128
/* protobuf-c unpacks recursively without a limit. etcd's budget rule allows a txn inside a txn
 * 127 times, at two message levels each; deeper than this is refused before unpacking. */
#define SR_MESSAGE_DEPTH_MAX 300
/* One unary answer; a Range beyond it is told to use limit and paging. */
#define SR_RESPONSE_BYTES_MAX (256 * 1024 * 1024)
/* Memory that unpacking one message may take: many tiny fields cost more than their bytes. */
#define SR_UNPACK_BYTES_MAX (48 * 1024 * 1024)
/* A remembered answer of a request with an id; larger ones are remembered without content. */
#define SR_REMEMBERED_ANSWER_BYTES_MAX (16 * 1024)
/* How many request ids are remembered; the oldest are forgotten first. */
#define SR_REMEMBERED_REQUESTS_MAX 65536
/* Common name of a client certificate (X.520 ub-common-name is 64). */
#define SR_ACTOR_BYTES_MAX 64

/* ---- Client connections ---- */

/* Connections of one node over all its loops: each costs about 100 KiB at rest. */
#define SR_CONNECTIONS_MAX 10000
/* Open calls of one connection; more are refused with REFUSED_STREAM, which clients retry. */
#define SR_STREAMS_PER_CONNECTION_MAX 4096
/* Bytes of answers waiting in one connection; beyond, its further calls wait to be handed on. */
#define SR_CONNECTION_WRITE_BYTES_MAX (4 * 1024 * 1024)
/* Request bodies being received, over one connection; its window is not refilled beyond. */
#define SR_CONNECTION_BODY_BYTES_MAX (16 * 1024 * 1024)
/* Header block of one request. */
#define SR_HEADER_BYTES_MAX (16 * 1024)
/* From TCP accept to a finished TLS handshake and HTTP/2 preface. */
#define SR_HANDSHAKE_TIMEOUT_MS 10000

/* ---- Consensus ---- */

/* Commands waiting to be proposed or forwarded, in number and bytes; beyond: refused. */
#define SR_PROPOSALS_WAITING_MAX      16384
#define SR_PROPOSAL_BYTES_WAITING_MAX (64 * 1024 * 1024)
/* One log entry: at least one command of the largest size, otherwise what arrived in a turn. */
#define SR_BATCH_BYTES_MAX    (2 * 1024 * 1024)
#define SR_BATCH_COMMANDS_MAX 4096
/* Entries that the leader sends ahead of a follower's answers. */
#define SR_INFLIGHT_ENTRIES_MAX 1024
/* Reads waiting for a round; beyond: refused. */
#define SR_READS_WAITING_MAX 65536
/* Committed but not yet applied, in entries and bytes; beyond: the leader stops proposing. */
#define SR_APPLY_ENTRIES_MAX 4096
#define SR_APPLY_BYTES_MAX   (64 * 1024 * 1024)
/* Calls of one client loop that wait for consensus or to be read; beyond: refused. */
#define SR_CALLS_WAITING_MAX 65536
/* Ranges longer than a slice that one client loop works on at a time; the others wait. */
#define SR_LONG_RANGES_MAX 8
/* etcd: 5 s and two election timeouts. */
#define SR_REQUEST_TIMEOUT_MS 5000

/* ---- Peers ---- */

/* One frame: a batch of entries up to this much, or one entry of the largest size. */
#define SR_PEER_FRAME_BYTES_MAX (8 * 1024 * 1024)
/* Envelope of a frame, without payloads. */
#define SR_PEER_ENVELOPE_BYTES_MAX (256 * 1024)
/* Waiting to be written to one peer; beyond: messages are dropped, raft sends them again. */
#define SR_PEER_WRITE_BYTES_MAX (32 * 1024 * 1024)
/* Bulk connections served at a time, each by a thread: images, and nodes that want to join. */
#define SR_PEER_BULK_MAX 4
/* Who limits the rate of images to less would let a connection be silent for longer than the other
 * side waits, with as many of them as may be, and no image would ever arrive. */
#define SR_IMAGE_RATE_MIN (1024 * 1024)

/* ---- Cluster ---- */

/* Beyond seven voters a majority gets slower and nothing gets safer; room for two that learn. */
#define SR_MEMBERS_MAX 9
/* The log that is held for a follower that takes an image: as many times what is kept anyway, at
 * least so much, and for so long. Beyond, the follower starts over. */
#define SR_IMAGE_HOLD_FACTOR    4
#define SR_IMAGE_HOLD_BYTES_MIN ((uint64_t)256 * 1024 * 1024)
#define SR_IMAGE_HOLD_MS_MAX    ((uint64_t)2 * 3600 * 1000)
/* A configuration entry of that many members, as libraft packs it: 9 bytes, and for each an id, a
 * short name of ours and a role. */
#define SR_CONFIGURATION_BYTES_MAX 512
/* etcd's bound for members that only learn: each costs the leader a full copy of its traffic. */
#define SR_LEARNERS_MAX 1
/* Of one member. */
#define SR_CLIENT_URLS_MAX 16
/* Ids of removed members that are remembered, to tell them that they were removed; one that is
 * older than this is refused as unknown. */
#define SR_REMOVED_MAX 4096
/* Two kinds for each member. */
#define SR_ALARMS_MAX (2 * SR_MEMBERS_MAX)
/* SHA-256 of a token that claims a place in the cluster. */
#define SR_TOKEN_HASH_BYTES 32

/* ---- Off-site ---- */

/* Targets of the configuration, and those that the record remembers. */
#define SR_OFFSITE_TARGETS_MAX 8
/* Full archives in the record, over all targets: about 200 bytes each, and the record is packed
 * anew with every change. */
#define SR_OFFSITE_ENTRIES_MAX    1024
#define SR_OFFSITE_NAME_BYTES_MAX 64 /* of a target */
/* Why a shipment or a drill failed; longer ones are cut. */
#define SR_OFFSITE_REASON_BYTES_MAX 256

/* ---- Storage ---- */

/* A memtable is frozen for flushing at either bound, or at SR_FLUSH_INTERVAL_MS. Two of them
 * (one filling, one being flushed) are the node's largest memory. */
#define SR_MEMTABLE_ENTRIES_MAX 50000
#define SR_MEMTABLE_BYTES_MAX   (32 * 1024 * 1024)
#define SR_FLUSH_INTERVAL_MS    2000
/* Headers gathered in memory for the index, about 150 bytes each, and as many more while the ones
 * before are drained. The more, the fewer pages a put costs; all are read again after a restart,
 * with their values: hence the second bound. */
#define SR_UNINDEXED_ENTRIES_MAX     200000
#define SR_UNINDEXED_VALUE_BYTES_MAX ((size_t)128 * 1024 * 1024)
/* Pieces of a record in LMDB: two fill a page, so that there are no overflow pages. */
#define SR_RECORD_CHUNK_BYTES 2012
/* LMDB readers: one view a client loop, images, tools. */
#define SR_VIEWS_MAX 126
/* Keys that a sliced range reads before it yields its loop. */
#define SR_RANGE_SLICE_KEYS 1000
/* Images of the state that are being read at a time. */
#define SR_IMAGE_READERS_MAX 8
/* How much of what a compaction could remove is left for changes that are yet to be shipped, and
 * for how long without anybody asking for it. */
#define SR_KEEP_REVISIONS_MAX ((int64_t)500000)
#define SR_KEEP_MS_MAX        ((uint64_t)10 * 60 * 1000)
/* Versions that compaction removes in one transaction. */
#define SR_COMPACTION_SLICE_EVENTS 10000

#endif
