# SPDX-License-Identifier: Apache-2.0
"""A disk that fails ends its node, with the reason and an exit code that says so; the others go on.

The failures come from faults.c, which is loaded into the daemon.
"""

import errno
import os
import pathlib
import subprocess

import grpc
import pytest
from cluster import BUILD, Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from test_failures import wait_equal
from workload import Workload

EXIT_DAMAGED = 4
EXIT_DISK = 5

pytestmark = pytest.mark.skipif("asan" in BUILD.name or "tsan" in BUILD.name,
                                reason="a sanitizer's own calls come first")


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """The library."""
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = pathlib.Path(__file__).with_name("faults.c")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror",
                    "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture
def failing(tmp_path, faults):
    """A cluster of three whose disks can be made to fail: fail(node, CALL, PART)."""
    cluster = Cluster(tmp_path, 3, storage={"memtable_entries": 32, "unindexed_entries": 64,
                                            "log_segment_bytes": 1 << 20})

    def fail(node, call, part, error=errno.EIO):
        (node.dir / "faults").write_text(f"{call} {part} {error}\n")

    def heal(node):
        (node.dir / "faults").unlink()
    cluster.fail, cluster.heal = fail, heal
    for node in cluster.nodes:
        node.environment = {**os.environ, "LD_PRELOAD": str(faults),
                            "STRONGROOM_FAULTS": str(node.dir / "faults")}
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def wait_end(node, code, *texts):
    """Until it has ended by itself, saying why."""
    assert wait_for(lambda: not node.is_running(), f"{node.name} to end")
    assert node.process.returncode == code, node.log()
    node.process = None
    last = [line for line in node.log().splitlines() if "level=fatal" in line]
    assert last, node.log()
    for text in texts:
        assert text in last[-1], last[-1]


def write_much(node, megabytes):
    """As much log as makes libraft take a snapshot, which writes the manifest."""
    with node.channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(megabytes * 4):
            stub.Put(rpc_pb2.PutRequest(key=b"much/%d" % (i % 8), value=b"m" * (256 << 10)),
                     timeout=20)


CASES = [
    ("write", "log/0", "write", "leader"),
    ("write", "log/0", "write", "follower"),
    ("sync", "log/0", "sync", "leader"),
    ("write", "log/vote", "vote", "follower"),
    ("sync", "log/vote", "vote", "follower"),
    ("write", "state/data.mdb", "Input/output error", "leader"),
    ("sync", "state/data.mdb", "Input/output error", "follower"),
]


@pytest.mark.parametrize("call, part, text, role", CASES,
                         ids=[f"{c}-{p.replace('/', '-')}-{r}" for c, p, _, r in CASES])
def test_a_disk_fails(failing, call, part, text, role):
    with Workload(failing) as workload:
        workload.wait_writes(5)
        leader = failing.wait_leader()
        node = leader if role == "leader" else failing.followers()[0]
        failing.fail(node, call, part)
        if "vote" in part:
            leader.kill()  # whoever is left has to vote
        wait_end(node, EXIT_DISK, "stopped serving", text, "see to the disk")
        if "vote" in part:
            leader.start()
        workload.wait_writes(20)
        assert workload.violations == []
        failing.heal(node)
        node.start()
        failing.wait_ready()
        workload.wait_writes(5)
    for each in failing.nodes:
        workload.check_end(each)
    wait_equal(failing.nodes)


def test_the_manifest_cannot_be_written(failing):
    node = failing.followers()[0]
    failing.fail(node, "rename", "manifest")
    write_much(failing.wait_leader(), 20)
    wait_end(node, EXIT_DISK, "stopped serving", "manifest")
    failing.put("goes-on", "1")
    failing.heal(node)
    node.start()
    failing.wait_ready()
    wait_equal(failing.nodes)


def test_a_disk_that_cannot_be_read_at_start(failing):
    """Each file in turn: the reason names it."""
    node = failing.followers()[0]
    failing.put("k", "v")
    assert node.stop() == 0
    for part in ["keyring", "log/vote", "log/0", "state/data.mdb"]:
        failing.fail(node, "read", part)
        node.start()
        wait_end(node, EXIT_DISK, "cannot start", "Input/output error", part.split("/")[0])
    failing.heal(node)
    node.start()
    failing.wait_ready()
    wait_equal(failing.nodes)


def test_a_log_that_cannot_be_read_back(failing):
    """A follower that was away is fed from the log on disk: a leader that cannot read it ends."""
    leader = failing.wait_leader()
    away = failing.followers()[0]
    failing.put("before", "1")
    away.kill()
    write_much(leader, 24)  # more than is kept in memory
    failing.fail(leader, "read", "log/0")
    away.start()
    wait_end(leader, EXIT_DISK, "stopped serving", "Input/output error")
    failing.heal(leader)
    leader.start()
    failing.wait_ready()
    wait_equal(failing.nodes)


def test_readers_are_told(failing):
    """While the node goes down, no call gets a wrong answer: an error or the truth."""
    node = failing.followers()[0]
    failing.put("k", "v")
    failing.fail(node, "write", "log/0")
    with node.channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        while node.is_running():
            try:
                response = stub.Range(rpc_pb2.RangeRequest(key=b"k"), timeout=2)
                assert response.kvs[0].value == b"v"
                failing.etcdctl("put", "trigger", "1", check=False)
            except grpc.RpcError as error:
                assert error.code() in (grpc.StatusCode.UNAVAILABLE,
                                        grpc.StatusCode.DEADLINE_EXCEEDED,
                                        grpc.StatusCode.DATA_LOSS,
                                        grpc.StatusCode.INTERNAL), error
    wait_end(node, EXIT_DISK, "stopped serving")
