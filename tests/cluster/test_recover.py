# SPDX-License-Identifier: Apache-2.0
"""A majority is lost for good: what is left becomes a new cluster, and nothing of the old comes
back into it."""

import hashlib
import socket
import subprocess

import pytest
from cluster import PATIENCE_S, STRONGROOM, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from test_failures import everything, wait_equal

KEYS = 300


def add(cluster, node, *options, nodes):
    cluster.strongroom("member", "add", node.name, "--zone", node.zone, "--peer-address",
                       node.peer_address, "--client-url", node.endpoint, *options, nodes=nodes)


def recover(cluster, node, survivors, *options):
    named = [word for survivor in survivors
             for word in ("--survivor", f"{survivor.data_dir}={survivor.kek_path}")]
    return subprocess.run([STRONGROOM, "recover", "--config", node.config_path, *named, *options],
                          capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def fingerprint(directory):
    """Content and times of all files."""
    return {str(path.relative_to(directory)):
            (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in sorted(directory.rglob("*")) if path.is_file()}


def move(node, name):
    """The node gets a new data directory, in the same configuration."""
    old = node.data_dir
    node.data_dir = node.dir / name
    node.write_config()
    return old


class Left:
    """What is left of a member: its directory and its key."""

    def __init__(self, node):
        self.data_dir = node.data_dir
        self.kek_path = node.kek_path


@pytest.fixture
def ruins(cluster):
    """Three nodes that were killed after KEYS writes; the last is gone with its disk."""
    with cluster.wait_leader().channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(KEYS):
            stub.Put(rpc_pb2.PutRequest(key=f"k/{i}".encode(), value=f"value {i}".encode()),
                     timeout=20)
        stub.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"k/7"), timeout=20)
    wait_equal(cluster.nodes)
    cluster.before = everything(cluster.nodes[0])
    for node in cluster.nodes:
        node.kill()
    return cluster


def test_a_cluster_is_made_of_what_is_left(ruins):
    cluster = ruins
    first, second, _ = cluster.nodes
    left = [Left(first), Left(second)]
    before = [fingerprint(one.data_dir) for one in left]
    move(first, "recovered")

    result = recover(cluster, first, left, "--report")
    assert result.returncode == 0, result.stderr
    assert "may be lost" in result.stdout and not first.data_dir.exists()

    result = recover(cluster, first, left)
    assert result.returncode == 1
    assert "a file was changed in the last minute" in result.stderr, result.stderr
    assert "the old cluster may be alive" in result.stderr
    assert not first.data_dir.exists()

    first.data_dir.write_text("in the way")
    result = recover(cluster, first, left, "--i-know-they-are-gone")
    assert result.returncode == 1 and "Not a directory" in result.stderr, result.stderr
    first.data_dir.unlink()

    result = recover(cluster, first, left, "--i-know-they-are-gone")
    assert result.returncode == 0, result.stderr
    assert f"made {first.data_dir}" in result.stdout
    assert [fingerprint(one.data_dir) for one in left] == before  # only read
    assert not first.data_dir.with_name("recovered.recovering").exists()
    result = recover(cluster, first, left, "--i-know-they-are-gone")
    assert result.returncode == 1 and "is not empty" in result.stderr

    # Alone it is a majority, and everything is there, revisions and versions included.
    cluster.nodes = [first]
    first.start()
    cluster.wait_ready()
    assert everything(first) == cluster.before
    cluster.put("after", "1")
    assert cluster.get("after") == "1"
    assert cluster.get("k/5") == "value 5"
    assert len(cluster.etcdctl_json("member", "list")["members"]) == 1

    # It starts again as what it has become.
    first.kill()
    first.start()
    cluster.wait_ready()
    assert cluster.get("after") == "1"

    # A member of the old cluster is refused.
    second.start()
    wait_for(lambda: 'reason="cluster id' in first.log(), "the old member to be refused")
    assert everything(first)[0] == cluster.before[0] + 1
    second.kill()

    # New ones join: what they need is before the new log, so they take an image.
    cluster.wait_caught_up()
    joined = []
    for name, zone in (("n4", "b"), ("n5", "c")):
        node = cluster.new_node(name, zone, cluster.dir / f"{name}.token")
        add(cluster, node, "--token-file", cluster.dir / f"{name}.token", nodes=[first])
        node.start()
        joined.append(node)
        cluster.strongroom("member", "wait", name, nodes=[first])
    wait_equal([first, *joined])
    first.kill()
    cluster.put("without-the-first", "1", nodes=joined)
    assert cluster.get("k/5", nodes=joined) == "value 5"


def test_a_member_that_answers_forbids_it(ruins):
    cluster = ruins
    first, second, third = cluster.nodes
    left = [Left(first)]
    move(first, "recovered")
    with socket.create_server((third.address, third.peer_port)):
        result = recover(cluster, first, left)
        assert result.returncode == 1
        assert f"something answers at {third.peer_address}" in result.stderr, result.stderr
    second.start()
    wait_for(lambda: second.log().count('msg="storage open"') == 2, "it to hold its directory")
    result = recover(cluster, first, [Left(second)], "--i-know-they-are-gone")
    assert result.returncode == 1
    assert "a strongroomd runs on it" in result.stderr, result.stderr
    second.kill()
    assert not first.data_dir.exists()


def test_the_survivor_with_the_most_is_taken(cluster):
    first, second, third = cluster.nodes
    cluster.put("early", "1")
    wait_equal(cluster.nodes)
    first.kill()
    cluster.wait_leader()
    cluster.put("late", "2", nodes=[second, third])
    for node in (second, third):
        node.kill()
    left = [Left(first), Left(third)]
    move(first, "recovered")
    result = recover(cluster, first, left, "--i-know-they-are-gone")
    assert result.returncode == 0, result.stderr
    assert f"most is in {third.data_dir}" in result.stdout
    cluster.nodes = [first]
    first.start()
    cluster.wait_ready()
    assert cluster.get("late") == "2"
    assert cluster.get("early") == "1"


def test_what_cannot_be_read_is_said(ruins):
    cluster = ruins
    first, second, _ = cluster.nodes
    left = [Left(first)]
    move(first, "recovered")
    wrong = Left(second)
    wrong.data_dir = left[0].data_dir
    result = recover(cluster, first, [wrong], "--i-know-they-are-gone")
    assert result.returncode == 1
    assert str(left[0].data_dir) in result.stderr
    assert not first.data_dir.exists()
    missing = Left(second)
    missing.data_dir = cluster.dir / "nothing"
    result = recover(cluster, first, [missing])
    assert result.returncode == 1
    assert "there is no data directory" in result.stderr, result.stderr


def check(node):
    return subprocess.run([STRONGROOM, "check", "--config", node.config_path],
                          capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_check_reads_everything(cluster):
    node = cluster.nodes[0]
    for i in range(5):
        cluster.put(f"large/{i}", "x" * 20000, nodes=[node])
    wait_equal(cluster.nodes)
    result = check(node)
    assert result.returncode == 1 and "a strongroomd runs on it" in result.stderr
    assert node.stop() == 0
    result = check(node)
    assert result.returncode == 0, result.stderr
    assert "all authentic" in result.stdout
    # A bit in each page that looks like sealed values: some of them are in use.
    path = node.data_dir / "state" / "data.mdb"
    content = bytearray(path.read_bytes())
    for start in range(2 * 4096, len(content), 4096):
        if len(set(content[start:start + 4096])) > 250:
            content[start + 3000] ^= 1
    path.write_bytes(content)
    result = check(node)
    assert result.returncode == 1, result.stdout
    assert "authenticate" in result.stderr or "revision" in result.stderr, result.stderr
