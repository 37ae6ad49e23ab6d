# SPDX-License-Identifier: Apache-2.0
"""A member whose state differs is found, named, and does not serve."""

import subprocess

import grpc
import pytest
from cluster import BUILD, Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from workload import Workload


@pytest.fixture
def checked(tmp_path):
    """Three nodes that compare their states every second, with whatever they have to compare."""
    cluster = Cluster(tmp_path, 3)
    for node in cluster.nodes:
        config = node.config
        node.config = lambda config=config: {
            **config(), "cluster": {**config()["cluster"], "replica_check_ms": 1000}}
        node.write_config()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def metric(node, name):
    page = subprocess.run(["curl", "-sf", f"http://127.0.0.1:{node.admin_port}/metrics"],
                          capture_output=True, text=True, check=True).stdout
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines()
               if line.startswith(f"strongroom_{name} "))


def checks(cluster):
    return sum(metric(node, "replica_checks_total") for node in cluster.nodes if node.process)


def read(node):
    with node.channel() as channel:
        return rpc_pb2_grpc.KVStub(channel).Range(
            rpc_pb2.RangeRequest(key=b"k", serializable=True), timeout=10)


def test_equal_members_stay_so(checked):
    checked.put("k", "1")
    wait_for(lambda: checks(checked) >= 2, "two checks")
    assert checked.etcdctl("alarm", "list").stdout == ""
    assert all(metric(node, "replica_differences_total") == 0 for node in checked.nodes)


def lose_entries(checked, node):
    """In the middle of writes the log has entries that the database does not have yet. Two are
    lost: of two in a row one is a write."""
    term = str(node.status().raftTerm)
    checked.wait_caught_up()
    for number in range(10):
        checked.put("k", str(number))
    wait_for(lambda: metric(node, "durable_index") >= 10, "what every cluster begins with")
    with Workload(checked) as workload:
        workload.wait_writes(200)
        node.kill()
    for _ in range(2):
        subprocess.run([BUILD / "tests" / "cluster" / "lose_entry", node.config_path, term],
                       check=True, capture_output=True)


def test_the_odd_one_is_named_and_does_not_serve(checked):
    odd = checked.followers()[0]
    odd_id = odd.status().header.member_id
    others = [node for node in checked.nodes if node is not odd]
    lose_entries(checked, odd)
    odd.start()

    def alarms():
        result = checked.etcdctl("alarm", "list", nodes=others)
        return result.stdout.strip()
    assert wait_for(alarms, "the alarm") == f"memberID:{odd_id} alarm:CORRUPT"
    wait_for(lambda: "it does not serve" in odd.log(), "it to say so")
    with pytest.raises(grpc.RpcError) as refused:
        read(odd)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "differs from that of the other members" in refused.value.details()
    probe = subprocess.run(["curl", "-s", f"http://127.0.0.1:{odd.admin_port}/readyz"],
                           capture_output=True, text=True, check=True).stdout
    assert "replica failed" in probe

    # As with etcd, nothing is written until somebody has looked; reads go on elsewhere.
    assert read(others[0]).kvs[0].value == b"9"
    result = checked.etcdctl("put", "k", "x", nodes=others, check=False)
    assert "etcdserver: corrupt cluster" in result.stderr

    # The member goes, and with it the alarm.
    odd.kill()
    removed = wait_for(lambda: checked.etcdctl("member", "remove", f"{odd_id:x}", nodes=others,
                                               check=False).returncode == 0, "its removal")
    assert removed
    checked.put("k", "after", nodes=others)
    assert checked.get("k", nodes=others) == "after"
