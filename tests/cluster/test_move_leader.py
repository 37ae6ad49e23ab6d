# SPDX-License-Identifier: Apache-2.0
"""Leadership goes where an operator wants it, and no client fails on the way."""

import grpc
import pytest
from cluster import wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from workload import Workload


def member_id(node):
    return wait_for(node.status, f"{node.name} to tell its status").header.member_id


def move(node, target, timeout=20):
    with node.channel() as channel:
        return rpc_pb2_grpc.MaintenanceStub(channel).MoveLeader(
            rpc_pb2.MoveLeaderRequest(targetID=target), timeout=timeout)


def failure(node, target):
    with pytest.raises(grpc.RpcError) as info:
        move(node, target)
    return info.value.code(), info.value.details()


def test_with_etcdctl_under_load(cluster):
    with Workload(cluster) as workload:
        workload.wait_writes(1)
        for _ in range(4):
            leader = cluster.wait_leader()
            target = cluster.followers()[0]
            said = cluster.etcdctl("move-leader", f"{member_id(target):x}").stdout
            assert "Leadership transferred from" in said
            assert wait_for(cluster.leader, "all nodes to agree") is target
            assert target is not leader
            workload.wait_writes(10)
        assert workload.in_doubt == 0, workload.last_errors
    workload.check_end(cluster.nodes[0])


def test_what_is_refused(shared):
    leader = shared.wait_leader()
    follower = shared.followers()[0]
    assert failure(follower, member_id(follower)) == (
        grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: not leader")
    assert failure(leader, 1234) == (
        grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    assert failure(leader, 0) == (
        grpc.StatusCode.FAILED_PRECONDITION, "etcdserver: bad leader transferee")
    assert shared.wait_leader() is leader
    assert not move(leader, member_id(leader)).HasField("header")  # it leads already


def test_a_member_that_is_down_does_not_stop_the_leader(cluster):
    leader = cluster.wait_leader()
    target = cluster.followers()[0]
    target_id = member_id(target)
    target.kill()
    assert failure(leader, target_id) == (
        grpc.StatusCode.UNKNOWN,
        "etcdserver: request timed out, leader transfer took too long")
    assert cluster.wait_leader() is leader
    cluster.still_serves()
