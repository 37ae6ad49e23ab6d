# SPDX-License-Identifier: Apache-2.0
"""Nothing is left of a cluster but what it has shipped, and a recovery key."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import grpc
import pytest
from cluster import PATIENCE_S, STRONGROOM, Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from test_failures import everything, wait_equal

BUMP = 1000000000


def listing(directory):
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


class Shipped:
    """What a cluster of three has shipped to a directory before its end."""

    def __init__(self, path):
        self.path = path
        self.target = path / "target"
        self.target.mkdir()
        self.url = f"file://{self.target}"
        self.key = path / "recovery.key"
        self.cluster = Cluster(path, 3)
        public = path / "recovery.pub"
        made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", public], check=True,
                              capture_output=True, text=True)
        private = re.search(r"strongroom-recovery-private-1 \S+", made.stdout).group()
        self.key.touch(mode=0o600)
        self.key.write_text(private + "\n")
        section = {"recovery_keys": [public], "spread_ms": 0, "changes_every_ms": 500,
                   "claim_timeout_ms": 5000, "every_ms": 86400000,
                   "targets": [{"name": "far", "url": self.url}]}
        for node in self.cluster.nodes:
            node.offsite = section
            node.write_config()
        self.node = None

    @property
    def nodes(self):  # for the logs of a failed test
        return self.cluster.nodes

    def revision(self):
        return everything(self.cluster.wait_leader())[0]

    def wait_shipped(self):
        """All that was written so far is at the target."""
        revision = self.revision()

        def reached():
            text = self.cluster.strongroom("snapshot", "status", "--json").stdout
            target = json.loads(text)["targets"][0]
            return max(target[kind].get("revision", 0)
                       for kind in ("snapshots", "changes")) >= revision
        wait_for(reached, f"revision {revision} to be shipped", timeout=120)
        return revision

    def end(self):
        for node in self.cluster.nodes:
            node.kill()
        for node in self.cluster.nodes:
            shutil.rmtree(node.data_dir)

    def words(self, *options, key=None):
        node = self.cluster.nodes[0]
        return [str(word) for word in
                (STRONGROOM, "restore", "--from", self.url, "--recovery-key", key or self.key,
                 "--config", node.config_path, *options)]

    def restore(self, *options, **others):
        return subprocess.run(self.words(*options, **others), capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)

    def start(self, offsite=None):
        """Start the first node, alone, on what was restored."""
        node = self.cluster.nodes[0]
        node.offsite = offsite
        node.write_config()
        self.cluster.nodes = [node]
        node.start()
        self.cluster.wait_ready()
        return node


@pytest.fixture
def shipped(tmp_path):
    there = Shipped(tmp_path)
    there.cluster.start()
    yield there
    there.cluster.close()


def write(cluster, first, count):
    with cluster.wait_leader().channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(first, first + count):
            stub.Put(rpc_pb2.PutRequest(key=f"k/{i}".encode(), value=os.urandom(300)), timeout=20)
        stub.DeleteRange(rpc_pb2.DeleteRangeRequest(key=f"k/{first}".encode()), timeout=20)


def read_at(node, revision):
    """What a client is told that reads as of a revision that it knows."""
    with node.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        rpc_pb2_grpc.KVStub(channel).Range(
            rpc_pb2.RangeRequest(key=b"k/1", revision=revision), timeout=20)
    return refused.value.details()


def test_a_cluster_comes_back_from_what_it_shipped(shipped):
    cluster = shipped.cluster
    write(cluster, 0, 200)
    shipped.wait_shipped()
    write(cluster, 200, 50)
    revision = shipped.wait_shipped()
    wait_equal(cluster.nodes)
    before = everything(cluster.nodes[0])
    shipped.end()
    node = cluster.nodes[0]
    stored = listing(shipped.target)
    files = listing(shipped.path)

    result = shipped.restore("--dry-run")
    assert result.returncode == 0, result.stderr
    assert f"up to        revision {revision}" in result.stdout
    fingerprint = re.search(r"SHA256:[0-9a-f]{64}", result.stdout).group()
    assert listing(shipped.path) == files  # nothing was changed, or made
    assert not node.data_dir.exists()

    result = shipped.restore("--signed-by", fingerprint, "--known", str(revision))
    assert result.returncode == 0, result.stderr
    assert f"made {node.data_dir}: member" in result.stdout
    assert f"revision {revision}, written at" in result.stdout
    assert "as the manifest says" in result.stdout
    assert f"at revision {revision + BUMP}, all before it compacted" in result.stdout
    assert not node.data_dir.with_name(node.data_dir.name + ".restoring").exists()
    assert listing(shipped.target) == stored

    result = shipped.restore()
    assert result.returncode == 1 and "is not empty" in result.stderr, result.stderr

    shipped.start()
    after = everything(node)
    assert after == (revision + BUMP, before[1])
    assert "has been compacted" in read_at(node, revision)
    assert "has been compacted" in read_at(node, revision + 1)
    cluster.put("after", "1")
    assert everything(node)[0] == revision + BUMP + 1

    # Others join, and it is a cluster as any.
    cluster.wait_caught_up()
    joined = []
    for name, zone in (("n4", "b"), ("n5", "c")):
        one = cluster.new_node(name, zone, cluster.dir / f"{name}.token")
        cluster.strongroom("member", "add", name, "--zone", zone, "--peer-address",
                           one.peer_address, "--client-url", one.endpoint, "--token-file",
                           cluster.dir / f"{name}.token", nodes=[node])
        one.start()
        joined.append(one)
        cluster.strongroom("member", "wait", name, nodes=[node])
    wait_equal([node, *joined])
    node.kill()
    cluster.put("without-the-first", "1", nodes=joined)
    records = [one for one in everything(joined[0])[1] if one[0].startswith(b"k/")]
    assert records == before[1]


def test_a_restore_stops_where_it_is_told_to(shipped):
    cluster = shipped.cluster
    node = cluster.nodes[0]
    write(cluster, 0, 30)
    first = shipped.wait_shipped()
    time.sleep(2.5)  # marks are made once a second
    moment = time.time()
    time.sleep(2.5)
    write(cluster, 30, 30)
    last = shipped.wait_shipped()
    wait_equal(cluster.nodes)
    shipped.end()
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

    result = shipped.restore("--at", str(last + 1))
    assert result.returncode == 1
    assert f"revision {last + 1} is not there: what is there ends at {last}" in result.stderr
    result = shipped.restore("--at", "2001-01-01T00:00:00Z")
    assert result.returncode == 1
    assert "is before the oldest snapshot that is there" in result.stderr, result.stderr
    result = shipped.restore("--at", "yesterday")
    assert result.returncode == 2 and "a revision, or a time such as" in result.stderr
    for parallel in ("0", "33", "all", ""):
        result = shipped.restore("--parallel", parallel)
        assert result.returncode == 2 and "a number from 1 to 32 is wanted" in result.stderr
    assert not node.data_dir.exists()

    places = {}
    for name, at, parallel in (("revision", str(first + 7), "1"), ("time", when, "32")):
        result = shipped.restore("--at", at, "--to", shipped.path / name, "--bump", "0",
                                 "--parallel", parallel)
        assert result.returncode == 0, result.stderr
        places[name] = int(re.search(r"goes on      at revision (\d+)\n", result.stdout).group(1))
    assert places == {"revision": first + 7, "time": first}
    node.data_dir = shipped.path / "revision"
    shipped.start()
    revision, records = everything(node)
    assert revision == first + 7
    assert sorted(key for key, *_ in records) == sorted(
        [f"k/{i}".encode() for i in range(1, 30)] + [f"k/{30 + i}".encode() for i in range(7)])


def test_it_goes_on_after_an_interruption(shipped):
    cluster = shipped.cluster
    node = cluster.nodes[0]
    with cluster.wait_leader().channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(40):
            stub.Put(rpc_pb2.PutRequest(key=f"large/{i}".encode(), value=os.urandom(1000000)),
                     timeout=60)
    revision = shipped.wait_shipped()
    cluster.strongroom("snapshot", "now")
    wait_for(lambda: len(list(shipped.target.glob("*/snapshots/*.srm"))) >= 2, "a large snapshot",
             timeout=120)
    wait_equal(cluster.nodes)
    before = everything(node)
    shipped.end()
    work = node.data_dir.with_name(node.data_dir.name + ".restoring")

    # Again and again, a little later each time, until it has been left in peace for long enough.
    interrupted = 0
    for wait_s in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5):
        with subprocess.Popen(shipped.words(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            time.sleep(wait_s)
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGTERM
        assert not node.data_dir.exists()
        interrupted += 1
    assert interrupted > 0
    if process.returncode != 0:
        result = shipped.restore()
        assert result.returncode == 0, result.stderr
    assert not work.exists()
    shipped.start()
    assert everything(node) == (revision + BUMP, before[1])


def test_what_is_wrong_is_refused_and_nothing_is_made(shipped):
    cluster = shipped.cluster
    node = cluster.nodes[0]
    write(cluster, 0, 20)
    shipped.wait_shipped()
    cluster.put("k/last", "1")
    revision = shipped.wait_shipped()
    shipped.end()
    work = node.data_dir.with_name(node.data_dir.name + ".restoring")

    def refused(sentence, *options, code=1, **others):
        result = shipped.restore(*options, **others)
        assert result.returncode == code, result.stdout + result.stderr
        assert sentence in result.stderr, result.stderr
        assert not node.data_dir.exists() and not (work / "new").exists()

    other = shipped.path / "other.key"
    made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", shipped.path / "x.pub"],
                          check=True, capture_output=True, text=True)
    other.touch(mode=0o600)
    other.write_text(re.search(r"strongroom-recovery-private-1 \S+", made.stdout).group())
    refused("is not sealed for recovery key", key=other)
    refused("No such file", key=shipped.path / "missing.key")
    refused("signed by", "--signed-by", "SHA256:" + "ab" * 32)
    refused("there is nothing of cluster 00000000000000aa", "--cluster", "00000000000000aa")
    refused("is known to have been shipped", "--known", "1000000")
    archive = next(iter(shipped.target.glob("*/snapshots/*.sra")))
    good = archive.read_bytes()
    archive.write_bytes(good[:-1])
    refused("truncated: ")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    archive.write_bytes(flipped)
    refused("edited: ")
    archive.unlink()
    refused("is not there, although its manifest is")
    archive.write_bytes(good)
    (shipped.target / "00000000000000aa/snapshots").mkdir(parents=True)
    for path in archive.parent.iterdir():
        shutil.copy(path, shipped.target / "00000000000000aa/snapshots" / path.name)
    refused("there are 2 clusters: say which one is meant")
    refused("foreign: it is of cluster", "--cluster", "00000000000000aa")
    shutil.rmtree(shipped.target / "00000000000000aa")

    # What is damaged can be done without, as far as that goes.
    shutil.rmtree(work)  # they were fetched beside the snapshot, and would do
    newest = sorted(shipped.target.glob("*/changes/*.sra"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    refused("--salvage restores what is not damaged")
    work.mkdir(exist_ok=True)
    with open(work / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused("another restore works in", "--salvage")
        assert (work / "lock").exists()
    result = shipped.restore("--salvage")
    assert result.returncode == 0, result.stderr
    assert "truncated: " in result.stderr and "left out: what belongs to" in result.stdout
    assert f"revision {revision - 1}, written at" in result.stdout


def test_all_that_is_there_is_verified(shipped):
    """Where it lies, beside the nodes that go on shipping."""
    write(shipped.cluster, 0, 20)
    shipped.wait_shipped()
    shipped.cluster.put("k/last", "1")
    shipped.wait_shipped()

    def verify(*options, key=shipped.key, url=shipped.url):
        keys = ["--recovery-key", key] if key else []
        return subprocess.run([str(word) for word in (
            STRONGROOM, "verify", "--from", url, *keys, *options)],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False)

    result = verify()
    assert result.returncode == 0, result.stdout + result.stderr
    assert "good snapshot 1: revision " in result.stdout and "BAD" not in result.stdout
    assert re.search(r"signed by    SHA256:[0-9a-f]{64}\n", result.stdout)
    result = verify(key=None)
    assert result.returncode == 0 and "nothing was looked into" in result.stdout
    archive = sorted(shipped.target.glob("*/changes/*.sra"))[0]
    good = archive.read_bytes()
    archive.write_bytes(good[:-1])
    for key in (shipped.key, None):
        result = verify(key=key)
        assert result.returncode == 1 and "NOT ALL IS AS IT SHOULD BE: 1 fault" in result.stderr
        assert re.search(rf"BAD  \S+/{archive.name}: truncated: ", result.stdout), result.stdout
        assert "good snapshot 1: revision " in result.stdout
    archive.write_bytes(good)
    assert verify("--known", 1000000).returncode == 1
    for words, code, sentence in (
            (("--known", "0"), 2, "--known 0: a number from 1 to"),
            (("--parallel", "33"), 2, "--parallel 33: a number from 1 to 32"),
            (("more",), 2, "takes options only"),
            (("--cluster", "00000000000000aa"), 1, "there is nothing of cluster 00000000000000aa"),
            (("--signed-by", "SHA256:" + "ab" * 32), 1, "NOT ALL IS AS IT SHOULD BE")):
        result = verify(*words)
        assert (result.returncode, sentence in result.stderr) == (code, True), result.stderr
    result = verify(url=f"file://{shipped.path}/missing")
    assert result.returncode == 1 and "No such file" in result.stderr
