# SPDX-License-Identifier: Apache-2.0
"""Many clients at once through stock etcd stubs, whose every call is recorded and then judged."""

import random
import threading
import time

import grpc
from cluster import wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from linearizability.history import CAS, DELETE, GET, LOCAL_GET, PUT, History

# A key with many writes of unknown outcome is hard to judge, and a long one slow: take another.
KEY_OPS_MAX = 400
KEY_UNKNOWN_MAX = 6


def had_no_effect(error):
    """Whether a write that ended so is certain not to have taken effect, nor ever to do so."""
    return (error.code() == grpc.StatusCode.UNAVAILABLE
            and error.details().startswith("failed to connect to all addresses")) or (
        error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        and "space exceeded" in error.details())


class _Key:
    """One key that clients share, and what the last of them who looked saw there."""

    def __init__(self, name):
        self.name = name
        self.ops = 0
        self.unknown = 0
        self.seen, self.mod = None, 0


class RecordedLoad:
    """As a context: runs until it is left. Call history.ops then, not before."""

    def __init__(self, cluster, name="h", clients=16, keys=8, call_timeout_s=2.0, seed=0,
                 kinds=((GET, 38), (PUT, 24), (CAS, 24), (DELETE, 5), (LOCAL_GET, 9)),
                 lie=False):
        """lie: take serializable answers for linearizable ones, which they are not."""
        self.history = History()
        self.lie = lie
        self.name = name
        self.call_timeout_s = call_timeout_s
        self.kinds, self.weights = zip(*kinds)
        self.stopping = threading.Event()
        self.broken = []  # what ended a thread
        self.lock = threading.Lock()
        self.made = 0
        self.keys = [self._fresh() for _ in range(keys)]
        self.names = [node.name for node in cluster.nodes]
        # A connection is shared by some clients, as in real life.
        self.channels = [[node.channel() for node in cluster.nodes]
                         for _ in range(max(1, clients // 8))]
        self.last_errors = {}
        self.write_times = []  # in ns, when which were answered
        self.threads = [threading.Thread(target=self._run, args=(i, seed)) for i in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for channels in self.channels:
            for channel in channels:
                channel.close()
        assert self.broken == [], self.broken

    def _fresh(self):
        self.made += 1
        return _Key(f"{self.name}/{self.made}")

    def _pick(self, chooser):
        with self.lock:
            i = chooser.randrange(len(self.keys))
            key = self.keys[i]
            if key.ops >= KEY_OPS_MAX or key.unknown >= KEY_UNKNOWN_MAX:
                key = self.keys[i] = self._fresh()
            key.ops += 1
            return key

    def _run(self, number, seed):
        chooser = random.Random(f"{seed}/{number}")
        stubs = [rpc_pb2_grpc.KVStub(channel)
                 for channel in self.channels[number % len(self.channels)]]
        home = at = number % len(stubs)
        # Every second one keeps to its own node while that answers: otherwise all would soon wait
        # for one that does not, and a gap in writes would be theirs.
        wanders = number // len(stubs) % 2 == 1
        try:
            while not self.stopping.is_set():
                if chooser.random() < 0.05:
                    at = chooser.randrange(len(stubs)) if wanders else home
                if not self._call(f"c{number}", chooser, stubs[at], self.names[at]):
                    at = (at + 1) % len(stubs)
                    time.sleep(0.02)
        except Exception as error:  # a thread must not die unseen
            self.broken.append(f"client {number}: {error!r}")

    def _call(self, client, chooser, stub, node):
        """One call; false when it failed."""
        key = self._pick(chooser)
        kind = chooser.choices(self.kinds, self.weights)[0]
        fields = {}
        if kind in (PUT, CAS):
            fields["value"] = f"{client}.{chooser.getrandbits(48):x}"
        if kind == CAS:
            by_value = key.seen is not None and chooser.random() < 0.3
            fields["expect"] = ("value", key.seen) if by_value else ("mod", key.mod)
        op = self.history.begin(client, kind, key.name, **fields)
        try:
            self._ask(stub, op)
        except grpc.RpcError as error:
            note = f"{node}: {error.code().name} {error.details()}"
            self.last_errors[client] = note
            if had_no_effect(error):
                History.failed(op, note)
            else:
                History.unknown(op, note)
                key.unknown += op.writes
            return False
        if op.reads and kind != LOCAL_GET:
            key.seen, key.mod = op.seen, op.mod
        elif op.writes:
            if kind != DELETE:
                key.seen, key.mod = op.value, op.revision
            self.write_times.append(op.ret)
        return True

    def _ask(self, stub, op):
        """Make the call and record its answer."""
        name = op.key.encode()
        if op.kind in (GET, LOCAL_GET):
            answer = stub.Range(
                rpc_pb2.RangeRequest(key=name, serializable=op.kind == LOCAL_GET or self.lie),
                timeout=self.call_timeout_s)
            History.ok(op, revision=answer.header.revision, **seen_in(answer))
        elif op.kind == PUT:
            answer = stub.Put(rpc_pb2.PutRequest(key=name, value=op.value.encode()),
                              timeout=self.call_timeout_s)
            History.ok(op, revision=answer.header.revision)
        elif op.kind == DELETE:
            answer = stub.DeleteRange(rpc_pb2.DeleteRangeRequest(key=name),
                                      timeout=self.call_timeout_s)
            History.ok(op, revision=answer.header.revision, deleted=answer.deleted)
        else:
            answer = stub.Txn(compare_and_swap(name, op), timeout=self.call_timeout_s)
            seen = {} if answer.succeeded else seen_in(answer.responses[0].response_range)
            History.ok(op, revision=answer.header.revision, succeeded=answer.succeeded, **seen)

    # ---- From outside ----

    @property
    def writes(self):
        return len(self.write_times)

    def longest_gap_s(self, begin_ns, end_ns):
        """The longest time between begin and end in which no write was answered."""
        times = [begin_ns, *sorted(t for t in list(self.write_times) if begin_ns <= t <= end_ns),
                 end_ns]
        return max(b - a for a, b in zip(times, times[1:])) / 1e9

    def wait_writes(self, count, timeout=60):
        """Until count writes more are acknowledged, and one at least that began from now on."""
        goal = self.writes + max(count, len(self.threads) + 1)
        try:
            wait_for(lambda: self.writes >= goal or self.broken, "writes to succeed", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.last_errors}") from None

    def read_all(self, node):
        """Read every key that there ever was, through one node, into the history. The node may
        still be taking an image, and start anew with it, or wait for a leader."""
        with node.channel() as channel:
            stub = rpc_pb2_grpc.KVStub(channel)
            for number in range(1, self.made + 1):
                wait_for(lambda key=f"{self.name}/{number}": self._read(stub, node, key),
                         f"{node.name} to answer")

    def _read(self, stub, node, key):
        op = self.history.begin(f"end/{node.name}", GET, key)
        try:
            answer = stub.Range(rpc_pb2.RangeRequest(key=key.encode(), serializable=self.lie),
                                timeout=30)
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE,
                                    grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            History.failed(op, f"{node.name}: {error.code().name}")  # a read has no effect
            return False
        History.ok(op, revision=answer.header.revision, **seen_in(answer))
        return True


def seen_in(answer):
    if not answer.kvs:
        return {"seen": None, "mod": 0, "version": 0}
    kv = answer.kvs[0]
    return {"seen": kv.value.decode(), "mod": kv.mod_revision, "version": kv.version}


def compare_and_swap(name, op):
    what, expected = op.expect
    compare = rpc_pb2.Compare(key=name, result=rpc_pb2.Compare.EQUAL)
    if what == "mod":
        compare.target, compare.mod_revision = rpc_pb2.Compare.MOD, expected
    else:
        compare.target, compare.value = rpc_pb2.Compare.VALUE, expected.encode()
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=name, value=op.value.encode()))
    get = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=name))
    return rpc_pb2.TxnRequest(compare=[compare], success=[put], failure=[get])
