# SPDX-License-Identifier: Apache-2.0
"""Bytes that change on a disk: found when the node starts or when it reads them, and never served.

Unit tests go through all bytes of small files (raftlog/test_damage.c, storage/test_store_pages.c,
node/test_datadir.c, storage/test_keyring.c); here real nodes meet some of them.
"""

import os
import random
import shutil
import signal
import struct

import grpc
import pytest
from cluster import Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from test_failures import everything, wait_equal

EXIT_FAILED = 1
EXIT_DAMAGED = 4
EXIT_DISK = 5
FLIPS = 3
# Nothing in these is ever believed.
HARMLESS = ("lock", "state/lock.mdb")


def fill(cluster, kilobytes=20 << 10):
    """Enough for a manifest and several segments, and for trees with branches."""
    with cluster.wait_leader().channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(kilobytes // 256):
            stub.Put(rpc_pb2.PutRequest(key=b"big/%d" % (i % 8), value=b"m" * (256 << 10)),
                     timeout=20)
        for i in range(400):
            stub.Put(rpc_pb2.PutRequest(key=b"small/%d" % i, value=b"value %d" % i), timeout=20)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("filled"), 3, storage={
        "memtable_entries": 32, "unindexed_entries": 64, "log_segment_bytes": 4 << 20})
    try:
        cluster.start()
        fill(cluster)
        wait_equal(cluster.nodes)
        yield cluster
    finally:
        cluster.close()


def files_of(node):
    found = [path for path in node.data_dir.rglob("*") if path.is_file()]
    return {str(path.relative_to(node.data_dir)): path for path in found}


def kind_of(name):
    return "log/segment" if name.endswith(".seg") else name


def damage_flip(path, chooser):
    """Some bytes where there are any; pages and frames are found by their beginnings."""
    size = path.stat().st_size
    with open(path, "r+b") as file:
        for _ in range(3):
            at = chooser.choice([chooser.randrange(size), chooser.randrange(size) // 4096 * 4096
                                 + chooser.randrange(32)])
            at = min(at, size - 1)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << chooser.randrange(8)]))


def damage_cut(path, chooser):
    os.truncate(path, chooser.randrange(path.stat().st_size))


def damage_empty(path, _):
    os.truncate(path, 0)


def damage_lose(path, _):
    path.unlink()


def check_start(cluster, node, what, expected):
    """It refuses to start and says why, or has what the others have."""
    node.start()

    def settled():
        return not node.is_running() or cluster.can_read(node)
    wait_for(settled, f"{what}: {node.name} to start or to refuse")
    if node.is_running():
        try:
            assert everything(node)[1] == expected, what
            assert node.stop() == 0, f"{what}: {node.log()[-2000:]}"
            return "harmless"
        except grpc.RpcError:  # found as it was read: it ends
            wait_for(lambda: not node.is_running(), f"{what}: {node.name} to end")
    code = node.process.wait()
    last = node.log().splitlines()[-1]
    assert code in (EXIT_DAMAGED, EXIT_FAILED), f"{what}: {code}: {last}"
    assert "cannot start" in last or "stopped serving" in last, f"{what}: {last}"
    assert code == EXIT_DAMAGED or any(word in last for word in (
        "keyring", "belongs to", "written by a newer version", "is not a Strongroom",
        "master key")), f"{what}: {last}"
    node.process = None
    return "refused"


@pytest.mark.parametrize("kind", ["format", "keyring", "lock", "log/vote", "log/manifest",
                                  "log/segment", "state/data.mdb", "state/lock.mdb"])
def test_a_damaged_file_at_start(filled, kind):
    seed = int(os.environ.get("STRONGROOM_SEED", random.randrange(1 << 32)))
    print(f"STRONGROOM_SEED={seed}")
    chooser = random.Random(seed)
    node = filled.followers()[0]
    expected = everything(filled.wait_leader())[1]
    assert node.stop() == 0
    kept = node.dir / "kept"
    shutil.copytree(node.data_dir, kept)
    results = []
    for damage in [damage_flip] * FLIPS + [damage_cut, damage_empty, damage_lose]:
        names = [name for name in files_of(node) if kind_of(name) == kind]
        assert names, kind
        name = chooser.choice(names)
        if (node.data_dir / name).stat().st_size == 0 and damage is not damage_lose:
            continue
        damage(node.data_dir / name, chooser)
        result = check_start(filled, node, f"{damage.__name__} of {name}", expected)
        results.append(result)
        assert result == "harmless" or kind not in HARMLESS, name
        shutil.rmtree(node.data_dir)
        shutil.copytree(kept, node.data_dir)
    print(results)
    if kind not in HARMLESS:
        assert "refused" in results
    shutil.rmtree(kept)
    node.start()
    filled.wait_ready()
    wait_equal(filled.nodes)


def flip_in_leaves(path, chooser, count):
    """Bits in the later part of leaves with names and records. (What a branch says, or the list of
    tables, is believed until the next start: decision 0016.)"""
    size = path.stat().st_size
    with open(path, "r+b", buffering=0) as file:
        for _ in range(count):
            page = chooser.randrange(2, size // 4096) * 4096
            file.seek(page + 10)
            flags, lower = struct.unpack("<HH", file.read(4))
            if flags != 2 or lower < 40:  # a leaf of some more entries than there are tables
                continue
            at = page + chooser.randrange(3072, 4096)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << chooser.randrange(8)]))


def test_the_database_is_damaged_while_it_is_open(cluster):
    """Reads give the truth or an error, and the node ends and says why; the others go on."""
    for i in range(200):
        cluster.put(f"k/{i}", f"value {i}") if i % 50 == 0 else None
    with cluster.wait_leader().channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(400):
            stub.Put(rpc_pb2.PutRequest(key=b"k/%d" % i, value=b"value %d" % i), timeout=20)
    node = cluster.followers()[0]
    wait_equal(cluster.nodes)
    chooser = random.Random(7)
    errors = 0
    with node.channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        while node.is_running():
            flip_in_leaves(node.data_dir / "state" / "data.mdb", chooser, 200)
            for i in chooser.sample(range(400), 100):
                try:
                    response = stub.Range(rpc_pb2.RangeRequest(key=b"k/%d" % i, serializable=True),
                                          timeout=5)
                    assert [kv.value for kv in response.kvs] == [b"value %d" % i]
                except grpc.RpcError as error:
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DATA_LOSS,
                                            grpc.StatusCode.INTERNAL,
                                            grpc.StatusCode.DEADLINE_EXCEEDED), error
                    errors += 1
    assert errors > 0
    code = node.process.wait()
    # Some changes of a page that is open make LMDB crash, which serves nothing wrong either.
    assert code in (EXIT_DAMAGED, EXIT_DISK, -signal.SIGSEGV, -signal.SIGABRT), code
    if code == EXIT_DAMAGED:
        assert "strongroom rebuild" in node.log().splitlines()[-1]
    node.process = None
    cluster.put("goes-on", "1")
    refused = node.run_once()
    assert refused.returncode == EXIT_DAMAGED and "cannot start" in refused.stderr


def test_the_database_is_cut_while_it_is_open(cluster):
    node = cluster.followers()[0]
    for i in range(100):
        cluster.put(f"k/{i}", "v") if i % 20 == 0 else None
    wait_equal(cluster.nodes)
    os.truncate(node.data_dir / "state" / "data.mdb", 8192)

    def ended():
        cluster.etcdctl("put", "more", "1", nodes=[n for n in cluster.nodes if n is not node])
        return not node.is_running()
    wait_for(ended, "the node to notice")
    assert node.process.wait() in (EXIT_DISK, EXIT_DAMAGED), node.log()[-2000:]
    assert "level=fatal" in node.log().splitlines()[-1]
    node.process = None
    cluster.put("goes-on", "1")


def test_the_log_is_damaged_while_it_is_open(filled):
    """A follower that was away needs old entries: a leader whose log is damaged ends, and the next
    one has them."""
    away = filled.followers()[0]
    assert away.stop() == 0
    fill(filled)
    leader = filled.wait_leader()
    for path in (leader.data_dir / "log").glob("*.seg"):
        with open(path, "r+b", buffering=0) as file:
            for at in range(600, path.stat().st_size, 65536):
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 4]))
    away.start()
    wait_for(lambda: not leader.is_running(), "the leader to notice")
    assert leader.process.wait() == EXIT_DAMAGED, leader.log()[-2000:]
    leader.process = None
    filled.wait_ready()
    wait_equal([node for node in filled.nodes if node is not leader])
    refused = leader.run_once()
    assert refused.returncode == EXIT_DAMAGED and "segment" in refused.stderr
