# SPDX-License-Identifier: Apache-2.0
"""Three nodes that ship to a bucket, writers that keep a journal of what they were promised, and
the end of all three."""
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time

import grpc
from ceph import ACCESS_KEY, REGION, SECRET_KEY
from cluster import STRONGROOM, Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

DAY_MS = 24 * 3600 * 1000
NAMES_OF_A_WRITER = 40


class Fleet:
    """@s3: of conftest.py; the target "far". @section: of offsite, beside ours. It ships a snapshot
    at its start, and changes all the time."""

    def __init__(self, s3, path, election_timeout_ms=300, **section):
        self.s3, self.path = s3, pathlib.Path(path)
        self.cluster = Cluster(path, 3, election_timeout_ms=election_timeout_ms)
        public = self.path / "recovery.pub"
        made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", public], check=True,
                              capture_output=True, text=True)
        private = re.search(r"strongroom-recovery-private-1 \S+", made.stdout).group()
        self.recovery_key = self.secret("recovery.key", private + "\n")
        credentials = self.secret("credentials", f"[default]\naws_access_key_id = {ACCESS_KEY}\n"
                                                  f"aws_secret_access_key = {SECRET_KEY}\n")
        for node in self.cluster.nodes:
            node.offsite = {
                "recovery_keys": [public], "every_ms": DAY_MS, "spread_ms": 0,
                "changes_every_ms": 300, "claim_timeout_ms": 5000, **section,
                "targets": [{"name": "far", "url": s3.url, "endpoint": s3.ceph.endpoint,
                             "region": REGION, "ca_file": s3.ceph.ca,
                             "credentials_file": credentials}]}
            node.write_config()

    def secret(self, name, text):
        """A file with it."""
        path = self.path / name
        path.touch(0o600)
        path.write_text(text)
        return path

    def start(self):
        self.cluster.start()
        wait_for(lambda: self.status()["snapshots"].get("revision"), "the first snapshot")

    def status(self):
        """Of the target, as people are told."""
        text = self.cluster.strongroom("snapshot", "status", "--json").stdout
        return json.loads(text)["targets"][0]

    def shipped_revision(self):
        status = self.status()
        return max(status[kind].get("revision", 0) for kind in ("snapshots", "changes"))

    def wait_shipped(self, revision):
        return wait_for(lambda: (found := self.shipped_revision()) >= revision and found,
                        f"revision {revision} to be shipped", timeout=120)

    def objects(self):
        """Name and content of everything in the bucket that stays: nodes that run probe it."""
        client = self.s3.ceph.client()
        found = {key: client.read_if_there(self.s3.bucket, key)
                 for key in client.keys(self.s3.bucket)}
        return {key: content for key, content in found.items() if content is not None}

    def destroy(self):
        """All zones at once."""
        for node in self.cluster.nodes:
            node.process.kill()
        for node in self.cluster.nodes:
            node.process.wait()
            node.process = None
            shutil.rmtree(node.data_dir)


class Journal:
    """Writers that put and delete, each its own names, one call at a time and none twice; it ends
    with the first call that fails. What was promised is kept with the revision that was told."""

    def __init__(self, nodes):
        self.promised = []  # (revision, name, value; None: deleted)
        self.in_doubt = []  # (name, value): may have happened, or not
        self.heard = {}  # by revision, when it was promised
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(node, number))
                        for number, node in enumerate(nodes)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()

    def join(self):
        for thread in self.threads:
            thread.join()

    def wait_more(self, count):
        """Until so many more are promised; returns the revision of the last one."""
        goal = len(self.promised) + count
        wait_for(lambda: len(self.promised) >= goal, f"{count} more writes")
        return max(revision for revision, _, _ in self.promised)

    def _run(self, node, number):
        turn = 0
        with node.channel() as channel:
            stub = rpc_pb2_grpc.KVStub(channel)
            while not self.stopping.is_set():
                turn += 1
                name = f"k/{number}/{turn % NAMES_OF_A_WRITER}".encode()
                value = f"{number}-{turn}".encode() if turn % 7 else None
                try:
                    revision = self._write(stub, name, value)
                except grpc.RpcError:
                    with self.lock:
                        self.in_doubt.append((name, value))
                    return
                if revision:
                    with self.lock:
                        self.promised.append((revision, name, value))
                        self.heard[revision] = time.monotonic()

    @staticmethod
    def _write(stub, name, value):
        if value is not None:
            return stub.Put(rpc_pb2.PutRequest(key=name, value=value), timeout=30).header.revision
        answer = stub.DeleteRange(rpc_pb2.DeleteRangeRequest(key=name), timeout=30)
        return answer.header.revision if answer.deleted else 0

    def expected(self, revision):
        """{name: (revision, value)} of what is promised up to @revision."""
        state = {}
        for entry in sorted(self.promised):
            if entry[0] <= revision:
                state[entry[1]] = (entry[0], entry[2])
        return state

    def compare(self, revision, records):
        """@records, {name: (revision, value)}, are what is promised up to @revision: nothing else,
        but for what was in doubt."""
        state = self.expected(revision)
        for name in {*state, *records}:
            promised, value = state.get(name, (0, None))
            found_at, found = records.get(name, (promised, None))
            if (found_at, found) != (promised, value):
                assert (name, found) in self.in_doubt and found_at >= promised, \
                    f"{name}: holds {found} of {found_at}, and {value} of {promised} was promised"


def records_of(node):
    """(revision of the store, {name: (revision, value)}) under k/."""
    with node.channel() as channel:
        answer = rpc_pb2_grpc.KVStub(channel).Range(
            rpc_pb2.RangeRequest(key=b"k/", range_end=b"k0"), timeout=30)
    return answer.header.revision, {kv.key: (kv.mod_revision, kv.value) for kv in answer.kvs}
