# SPDX-License-Identifier: Apache-2.0
"""What is acknowledged stays, whoever dies."""

import os
import random
import signal
import time

from cluster import wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from workload import Workload

SOAK = os.environ.get("STRONGROOM_SOAK")
KILL_ROUNDS = int(os.environ.get("STRONGROOM_KILL_ROUNDS", "200" if SOAK else "20"))


def everything(node):
    """All that a node has, read locally."""
    with node.channel() as channel:
        response = rpc_pb2_grpc.KVStub(channel).Range(
            rpc_pb2.RangeRequest(key=b"\0", range_end=b"\0", serializable=True), timeout=30)
    return response.header.revision, [
        (kv.key, kv.value, kv.create_revision, kv.mod_revision, kv.version) for kv in response.kvs]


def wait_equal(nodes):
    """All nodes come to hold the same, revisions and versions included."""
    def equal():
        states = [everything(node) for node in nodes]
        return all(state == states[0] for state in states)
    wait_for(equal, "all nodes to hold the same")


def test_writes_go_on_after_the_leader_dies(cluster, record_property):
    for i in range(20):
        cluster.put(f"before/{i}", str(i))
    leader = cluster.wait_leader()
    leader.kill()
    killed_at = time.monotonic()
    # One command with all endpoints, as a user would: the dead one among them.
    cluster.put("after", "1", timeout=10)
    seconds = time.monotonic() - killed_at
    record_property("seconds_to_first_write", round(seconds, 3))
    print(f"first write {seconds:.2f} s after kill -9 of the leader")
    assert seconds <= 3
    for i in range(20):
        assert cluster.get(f"before/{i}") == str(i)
    leader.start()
    cluster.wait_ready()
    assert cluster.get("after", nodes=[leader]) == "1"
    wait_equal(cluster.nodes)


def test_a_follower_that_was_away_catches_up(cluster):
    follower = cluster.followers()[0]
    cluster.put("catch-up", "0")
    follower.kill()
    for i in range(1, 30):
        cluster.put("catch-up", str(i))
    follower.start()
    cluster.wait_ready()
    assert cluster.get("catch-up", nodes=[follower]) == "29"
    wait_equal(cluster.nodes)


def test_without_a_majority_nothing_is_acknowledged(cluster):
    cluster.put("minority", "1")
    survivor, *others = cluster.nodes
    assert cluster.get("minority", nodes=[survivor]) == "1"  # so it has it itself
    for node in others:
        node.kill()
    failed = cluster.etcdctl("put", "minority", "2", "--command-timeout=3s", nodes=[survivor],
                             check=False)
    assert failed.returncode != 0
    failed = cluster.etcdctl("get", "minority", "--command-timeout=3s", nodes=[survivor],
                             check=False)
    assert failed.returncode != 0
    stale = cluster.etcdctl("get", "minority", "--consistency=s", "--print-value-only",
                            nodes=[survivor])
    assert stale.stdout == "1\n"
    for node in others:
        node.start()
    cluster.wait_ready()
    assert cluster.get("minority") in ("1", "2")  # the second was never acknowledged
    cluster.put("minority", "3")
    assert cluster.get("minority") == "3"


def test_restart_of_all_keeps_everything(cluster):
    for i in range(50):
        cluster.put(f"kept/{i}", f"value {i}")
    cluster.etcdctl("del", "kept/7")
    revision, before = everything(cluster.wait_leader())
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    wait_equal(cluster.nodes)
    assert everything(cluster.nodes[0]) == (revision, before)
    for node in cluster.nodes:  # and in good order
        assert node.stop() == 0, node.log()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    wait_equal(cluster.nodes)
    assert everything(cluster.nodes[0]) == (revision, before)
    cluster.still_serves()


def test_a_stopped_leader_hands_over(cluster):
    with Workload(cluster) as workload:
        workload.wait_writes(1)
        leader = cluster.wait_leader()
        assert leader.stop() == 0, leader.log()
        workload.wait_writes(1)
        leader.start()
        cluster.wait_ready()
        workload.wait_writes(1)
    workload.check_end(leader)


def test_a_frozen_leader_serves_nothing_stale(cluster):
    """A leader that was stopped in the middle of its work, and does not know that time has passed
    and another one has been elected, must not answer reads out of its old state: neither those of
    the workload, nor a pile of them that waits for it when it wakes up."""
    with Workload(cluster, readers=4, call_timeout_s=1) as workload:
        for _ in range(4):
            frozen = cluster.wait_leader()
            with frozen.channel() as channel:
                stub = rpc_pb2_grpc.KVStub(channel)
                stub.Range(rpc_pb2.RangeRequest(key=b"health"), timeout=20)
                frozen.process.send_signal(signal.SIGSTOP)
                try:
                    workload.wait_writes(6)
                    pile = [workload.read_later(stub) for _ in range(100)]
                finally:
                    frozen.process.send_signal(signal.SIGCONT)
                for check in pile:
                    check()
            workload.wait_writes(20)
            assert workload.violations == []
    cluster.wait_ready()
    for node in cluster.nodes:
        workload.check_end(node)
    wait_equal(cluster.nodes)


def kill_round(cluster, workload, chooser, number):
    """Kill one node, every fifth time all at once; writes go on while a majority is there."""
    victims = list(cluster.nodes) if number % 5 == 4 else [chooser.choice(cluster.nodes)]
    for node in victims:
        node.kill()
    if len(victims) == 1:
        workload.wait_writes(20)
    for node in victims:
        node.start()
    workload.wait_writes(20)
    for node in victims:
        wait_for(lambda node=node: cluster.can_read(node), f"{node.name} to serve")


def test_kill_rounds_lose_nothing_and_read_nothing_stale(cluster):
    seed = int(os.environ.get("STRONGROOM_SEED", random.randrange(1 << 32)))
    print(f"STRONGROOM_SEED={seed}, {KILL_ROUNDS} rounds")
    chooser = random.Random(seed)
    with Workload(cluster) as workload:
        workload.wait_writes(1)
        for number in range(KILL_ROUNDS):
            kill_round(cluster, workload, chooser, number)
            assert workload.violations == []
    print(f"{workload.writes} writes, {workload.in_doubt} in doubt, {workload.reads} reads")
    assert workload.writes > 0 and workload.reads > 0
    cluster.wait_ready()
    for node in cluster.nodes:
        workload.check_end(node)
    wait_equal(cluster.nodes)
