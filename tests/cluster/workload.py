# SPDX-License-Identifier: Apache-2.0
"""Writers and readers that know what they may see.

Each writer owns its keys and writes 1, 2, 3, ... to one at a time. When it does not learn what
became of a write, that write may still take effect at any later time, so it goes on with a fresh
key: of each key at most the last write is in doubt. Then
  - a linearizable read that began after value v was acknowledged must return at least v;
  - at the end each key holds its last acknowledged value, or the one in doubt.
"""

import random
import threading
import time

import grpc
from cluster import wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

class Register:
    """One key and what is known of it."""

    def __init__(self, key):
        self.key = key
        self.acknowledged = 0
        self.attempted = 0


class Workload:
    def __init__(self, cluster, writers=2, readers=2, call_timeout_s=3):
        self.call_timeout_s = call_timeout_s
        self.stopping = threading.Event()
        self.violations = []
        self.registers = []  # of all writers, all that ever were
        self.current = [None] * writers
        self.writes = 0
        self.reads = 0
        self.in_doubt = 0
        self.last_errors = {}  # by thread: why its last call failed
        self.lock = threading.Lock()
        self.channels = [node.channel() for node in cluster.nodes]
        self.stubs = [rpc_pb2_grpc.KVStub(channel) for channel in self.channels]
        self.threads = [threading.Thread(target=self._guard, args=(self._write, i))
                        for i in range(writers)]
        self.threads += [threading.Thread(target=self._guard, args=(self._read, i))
                         for i in range(readers)]

    def __enter__(self):
        for i in range(len(self.current)):
            self._fresh_register(i)
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for channel in self.channels:
            channel.close()

    def _guard(self, function, argument):
        try:
            function(argument)
        except Exception as error:  # a thread must not die unseen
            self.violations.append(f"{function.__name__}: {error!r}")

    def _fresh_register(self, writer):
        register = Register(f"w{writer}/{sum(r is not None for r in self.registers)}".encode())
        with self.lock:
            self.registers.append(register)
            self.current[writer] = register
        return register

    def _write(self, writer):
        chooser = random.Random(writer)
        register = self.current[writer]
        while not self.stopping.is_set():
            value = register.acknowledged + 1
            register.attempted = value
            try:
                chooser.choice(self.stubs).Put(
                    rpc_pb2.PutRequest(key=register.key, value=str(value).encode()),
                    timeout=self.call_timeout_s)
            except grpc.RpcError as error:
                self.last_errors[f"writer {writer}"] = (time.time(), error.code(), error.details())
                self.in_doubt += 1
                register = self._fresh_register(writer)
                time.sleep(0.02)
                continue
            register.acknowledged = value
            with self.lock:
                self.writes += 1

    def _check_read(self, register, acknowledged, response):
        """acknowledged: what was when the read began."""
        value = int(response.kvs[0].value) if response.kvs else 0
        if not acknowledged <= value <= register.attempted:
            self.violations.append(
                f"{register.key}: read {value} after {acknowledged} was acknowledged")
        with self.lock:
            self.reads += 1

    def _read(self, reader):
        chooser = random.Random(1000 + reader)
        while not self.stopping.is_set():
            register = chooser.choice(self.current)
            acknowledged = register.acknowledged
            try:
                response = chooser.choice(self.stubs).Range(
                    rpc_pb2.RangeRequest(key=register.key), timeout=self.call_timeout_s)
            except grpc.RpcError as error:
                self.last_errors[f"reader {reader}"] = (time.time(), error.code(), error.details())
                time.sleep(0.02)
                continue
            self._check_read(register, acknowledged, response)

    def read_later(self, stub):
        """Begin a read; call what is returned to wait for its end and check what it saw."""
        register = random.choice([r for r in self.registers if r.acknowledged > 0])
        acknowledged = register.acknowledged
        future = stub.Range.future(rpc_pb2.RangeRequest(key=register.key), timeout=20)

        def check():
            try:
                response = future.result()
            except grpc.RpcError:
                return  # no answer is not a wrong one
            self._check_read(register, acknowledged, response)
        return check

    def wait_writes(self, count):
        """Until count writes more are acknowledged, and at least one that began from now on."""
        goal = self.writes + max(count, len(self.current) + 1)
        try:
            wait_for(lambda: self.writes >= goal or self.violations, "writes to succeed")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.last_errors}") from None

    def check_end(self, node):
        """After the end, through one node: nothing acknowledged is lost, nothing is invented."""
        with node.channel() as channel:
            response = rpc_pb2_grpc.KVStub(channel).Range(
                rpc_pb2.RangeRequest(key=b"w", range_end=b"x"), timeout=30)
        values = {kv.key: int(kv.value) for kv in response.kvs}
        for register in self.registers:
            value = values.pop(register.key, 0)
            if not register.acknowledged <= value <= register.attempted:
                self.violations.append(f"{register.key}: holds {value}, acknowledged "
                                       f"{register.acknowledged}, attempted {register.attempted}")
        for key in values:
            self.violations.append(f"{key}: nobody wrote it")
        assert self.violations == []
