# SPDX-License-Identifier: Apache-2.0
"""A full disk stops puts on that node with etcd's quota error, and nothing else; nothing that was
acknowledged is lost, and it comes right by itself when there is space again."""

import urllib.error
import urllib.request

import disk
import grpc
import pytest
from cluster import Cluster, wait_for
from disk import MIB, Disk
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from test_failures import wait_equal
from workload import Workload

RESERVE = 12 * MIB
EXCEEDED = "etcdserver: mvcc: database space exceeded"

pytestmark = pytest.mark.skipif(disk.missing() is not None, reason=str(disk.missing()))


@pytest.fixture
def disks(tmp_path):
    """A cluster of three, each with a disk of its own."""
    cluster = Cluster(tmp_path, 3, storage={
        "memtable_entries": 64, "unindexed_entries": 128, "log_segment_bytes": MIB,
        "log_keep_bytes": 2 * MIB, "disk_reserve_bytes": RESERVE})
    made = []
    try:
        for node in cluster.nodes:
            node.disk = Disk(node.dir / "disk")
            made.append(node.disk)
            node.data_dir = node.disk.mountpoint / "data"
            node.write_config()
        cluster.start()
        yield cluster
    finally:
        cluster.close()
        for each in made:
            each.close()


def put(node, key, value=b"x" * 1000, timeout=10):
    """The error of a put through @node, or None."""
    with node.channel() as channel:
        try:
            rpc_pb2_grpc.KVStub(channel).Put(rpc_pb2.PutRequest(key=key.encode(), value=value),
                                             timeout=timeout)
            return None
        except grpc.RpcError as error:
            return error


def refuses_puts(node):
    error = put(node, "probe")
    if error is None:
        return False
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error
    return error.details() == EXCEEDED


def get(node, key, serializable=False, timeout=10):
    with node.channel() as channel:
        response = rpc_pb2_grpc.KVStub(channel).Range(
            rpc_pb2.RangeRequest(key=key.encode(), serializable=serializable), timeout=timeout)
    return response.kvs[0].value if response.kvs else None


def admin(node, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.admin_port}{path}",
                                    timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def member_id(node):
    return wait_for(node.status, f"{node.name} to answer").header.member_id


def shows_alarm(node, of):
    """Whether @node says that @of is short of space."""
    return f"memberID:{member_id(of)} alarm:NOSPACE" in node.cluster.etcdctl(
        "alarm", "list", nodes=[node]).stdout


def expect_short(node):
    """What a node that is short of space says and does, and what the others say of it."""
    wait_for(lambda: refuses_puts(node), f"{node.name} to refuse puts")
    assert shows_alarm(node, node)
    for other in node.cluster.nodes:
        wait_for(lambda other=other: shows_alarm(other, node), f"{other.name} to know")
    status = node.cluster.etcdctl_json("endpoint", "status", nodes=[node])
    assert any("alarm:NOSPACE" in error for error in status[0]["Status"]["errors"])
    code, page = admin(node, "/health")
    assert (code, "ALARM NOSPACE" in page) == (503, True)
    assert admin(node, "/livez")[0] == 200
    assert "strongroom_has_space 0" in admin(node, "/metrics")[1]


def expect_room(node):
    wait_for(lambda: put(node, "probe") is None, f"{node.name} to take puts again")
    for other in node.cluster.nodes:
        wait_for(lambda other=other: not shows_alarm(other, node), f"{other.name} to know")
    # Others that were short of space may be healthy a little later, and while they are not, all are ill.
    wait_for(lambda: admin(node, "/health")[0] == 200, f"{node.name} to be healthy")


def expect_cleaning(cluster, node):
    """Deletes, compaction and linearizable reads through @node."""
    assert cluster.etcdctl("del", "rubbish/", "--prefix", nodes=[node]).stdout.strip() != "0"
    revision = node.status().header.revision
    assert "compacted" in cluster.etcdctl("compaction", str(revision), nodes=[node]).stdout
    assert get(node, "kept") == b"kept"


def fill_with_rubbish(node, count=40):
    for i in range(count):
        assert put(node, f"rubbish/{i}", b"r" * 10000) is None


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_one_node_is_short_of_space(disks, role):
    """Its reserve is touched: it refuses puts, and does everything else."""
    leader = disks.wait_leader()
    node = leader if role == "leader" else disks.followers()[0]
    assert put(leader, "kept", b"kept") is None
    fill_with_rubbish(leader)
    with Workload(disks) as workload:
        workload.wait_writes(5)
        node.disk.fill(leave=RESERVE // 2)
        expect_short(node)
        expect_cleaning(disks, node)
        for other in disks.nodes:
            if other is not node:
                assert put(other, f"through/{other.name}") is None
        workload.wait_writes(20)
        node.disk.empty()
        expect_room(node)
        assert workload.violations == []
    disks.wait_ready()
    workload.check_end(node)
    wait_equal(disks.nodes)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_one_node_has_no_space_at_all(disks, role):
    """Neither its log nor its database can grow: the others go on without it."""
    leader = disks.wait_leader()
    node = leader if role == "leader" else disks.followers()[0]
    others = [other for other in disks.nodes if other is not node]
    assert put(leader, "kept", b"kept") is None
    with Workload(disks) as workload:
        workload.wait_writes(5)
        node.disk.fill()

        def log_is_full():
            for other in others:
                put(other, "filler", b"f" * 200000)
            return "disk full: the log waits" in node.log()
        wait_for(log_is_full, f"the log of {node.name} to be full")
        wait_for(lambda: all(put(other, "more") is None for other in others),
                 "the others to go on")
        assert disks.wait_leader() is not node
        wait_for(lambda: refuses_puts(node), f"{node.name} to refuse puts")
        assert get(node, "kept", serializable=True) == b"kept"
        code, page = admin(node, "/readyz")
        assert (code, "disk" in page) == (503, True), page
        workload.wait_writes(20)
        assert node.is_running()
        node.disk.empty()
        expect_room(node)
        assert admin(node, "/readyz")[0] == 200
        assert workload.violations == []
    disks.wait_ready()
    for each in disks.nodes:
        workload.check_end(each)
    wait_equal(disks.nodes)


def test_a_start_on_a_full_disk_waits_for_space(one_node):
    """It says what is missing and where, and is no worse for having tried."""
    node = one_node.nodes[0]
    waits = 'msg="disk full: the start waits for space"'
    node.disk = Disk(node.dir / "disk")
    try:
        node.data_dir = node.disk.mountpoint / "data"
        node.write_config()
        node.disk.fill()
        node.start()
        wait_for(lambda: waits in node.log(), "it to say so")
        line = next(line for line in node.log().splitlines() if waits in line)
        for words in (str(node.data_dir), "No space left on device", "make room"):
            assert words in line, line
        assert node.stop() == 0
        node.start()
        wait_for(lambda: node.log().count(waits) == 2, "it to try again")
        node.disk.empty()
        one_node.wait_ready()
        one_node.put("k", "v")
    finally:
        one_node.close()
        node.disk.close()


def test_all_nodes_have_no_space(disks):
    """Nothing is acknowledged that cannot be kept. Killed meanwhile, they start again."""
    leader = disks.wait_leader()
    assert put(leader, "kept", b"kept") is None
    fill_with_rubbish(leader)
    with Workload(disks) as workload:
        workload.wait_writes(5)
        for node in disks.nodes:
            node.disk.fill(leave=RESERVE // 2)
        for node in disks.nodes:
            expect_short(node)
        expect_cleaning(disks, disks.nodes[0])
        for node in disks.nodes:
            node.disk.fill()
        for node in disks.nodes:
            wait_for(lambda node=node: refuses_puts(node), f"{node.name} to refuse puts")
            assert get(node, "kept") == b"kept"
        for node in disks.nodes:
            node.kill()
        for node in disks.nodes:
            node.start()
        for node in disks.nodes:
            wait_for(lambda node=node: node.status() or "the start waits" in node.log(),
                     f"{node.name} to start")
            node.disk.empty()
        disks.wait_ready()
        for node in disks.nodes:
            expect_room(node)
        workload.wait_writes(10)
        assert workload.violations == []
    for node in disks.nodes:
        workload.check_end(node)
    wait_equal(disks.nodes)
