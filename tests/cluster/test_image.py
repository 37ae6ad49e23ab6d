# SPDX-License-Identifier: Apache-2.0
"""A member that is further behind than the log reaches gets an image, whatever happens meanwhile."""

import json
import random
import threading
import time
import urllib.request

import pytest
from cluster import Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

VALUE_BYTES = 300_000
# What the leader keeps in memory for those that lag is 16 MiB and a bit: more than that.
VALUES = 110

# Log and tables as small as they can be; a quarter of a second or more for each megabyte.
STORAGE = {"log_segment_bytes": 65536, "log_keep_bytes": 0, "memtable_entries": 32,
           "unindexed_entries": 64}


@pytest.fixture
def lagging(tmp_path):
    """Three nodes with a short log, of which the last, a follower, is down and far behind."""
    cluster = Cluster(tmp_path, 3, storage=STORAGE)
    try:
        cluster.start()
        follower = cluster.followers()[0]
        follower.kill()
        fill(cluster)
        yield cluster, follower
    finally:
        cluster.close()


def value_of(i):
    return random.Random(i).randbytes(VALUE_BYTES)


def fill(cluster, first=0):
    leader = cluster.wait_leader()
    with leader.channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(first, first + VALUES):
            stub.Put(rpc_pb2.PutRequest(key=f"large/{i:04}".encode(), value=value_of(i)),
                     timeout=20)


def read_all(node):
    """What this node has by itself, without asking the others."""
    with node.channel() as channel:
        response = rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(
            key=b"large/", range_end=b"large0", serializable=True), timeout=20)
    return {pair.key: (pair.value, pair.mod_revision, pair.version) for pair in response.kvs}


def adopted(node, times=1):
    return node.log().count('msg="stopped to start anew"') >= times


def check_equal(cluster, node):
    """It has what the leader has, and takes part in everything."""
    cluster.wait_ready()
    assert read_all(node) == read_all(cluster.wait_leader())
    cluster.still_serves()
    assert node.status().header.revision == cluster.wait_leader().status().header.revision


def page(node, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{node.admin_port}/{path}", timeout=20) as answer:
        return answer.read().decode()


def check_pages(cluster, node):
    """/status and /metrics of any node tell the same."""
    def settled():
        return json.loads(page(node, "status"))["zones_survivable"] == 1
    wait_for(settled, "all to be caught up")
    status = json.loads(page(node, "status"))
    assert status["node"] == node.name and not status["leads"] and status["alarms"] == []
    assert status["fetching_image"] is None
    assert {member["name"]: member["zone"] for member in status["members"]} == {
        node.name: node.zone for node in cluster.nodes}
    assert all(member["role"] == "voter" and member["up"] and member["image"] is None
               for member in status["members"])
    assert "\nstrongroom_cluster_zones_survivable 1\n" in page(node, "metrics")
    sent = sum(int(page(other, "metrics").split("\nstrongroom_image_sent_bytes_total ")[1]
                   .split()[0]) for other in cluster.nodes)
    assert sent > 1_000_000


def test_a_follower_gets_an_image(lagging):
    cluster, follower = lagging
    follower.start()
    wait_for(lambda: adopted(follower), "the follower to start from an image")
    check_equal(cluster, follower)
    check_pages(cluster, follower)
    assert 'msg="sent"' in "".join(node.log() for node in cluster.nodes)
    # It is a member like the others: when it restarts, it starts from what it has.
    assert follower.stop() == 0
    follower.start()
    check_equal(cluster, follower)
    assert not adopted(follower, 2)


def limit_rate(cluster, bytes_per_second):
    """Whoever sends an image from now on takes its time, so that there is time to die in."""
    for node in cluster.nodes:
        node.image = {"bytes_per_second": bytes_per_second}
        node.write_config()
    for node in cluster.nodes:
        if node.is_running():
            assert node.stop() == 0
            node.start()
            cluster.wait_leader()


def test_killed_at_any_moment(lagging):
    """kill -9 of the follower, again and again, then of the leader while it sends: old or new,
    never a mixture."""
    cluster, follower = lagging
    limit_rate(cluster, 8 << 20)
    follower.start()
    for _ in range(6):
        wait_for(lambda: 'part=image' in follower.log(), "an image to begin")
        time.sleep(random.uniform(0, 1.2))
        if adopted(follower):
            break
        follower.kill()
        follower.start()
    if not adopted(follower):
        leader = next(node for node in cluster.nodes if node is not follower and
                      f"{node.status().leader:x}" == f"{node.status().header.member_id:x}")
        leader.kill()
        leader.start()
    cluster.wait_leader()
    wait_for(lambda: adopted(follower), "the follower to start from an image", timeout=120)
    check_equal(cluster, follower)


def metric(node, name):
    return int(page(node, "metrics").split(f"\nstrongroom_{name} ")[1].split()[0])


def wait_sender(cluster, follower):
    """Until a part of an image has come to the follower; who sends it."""
    follower.start()
    wait_for(lambda: 'part=image' in follower.log(), "an image to begin")
    wait_for(lambda: metric(follower, "image_received_bytes_total") > 4 << 20,
             "a part of the image")
    senders = [node for node in cluster.nodes
               if node is not follower and metric(node, "images_sending") == 1]
    assert len(senders) == 1
    return senders[0]


def ends_equal(cluster, follower):
    wait_for(lambda: adopted(follower), "the follower to start from an image", timeout=120)
    check_equal(cluster, follower)


def test_the_sender_is_killed(lagging):
    """kill -9 of who sends, midway, and it stays away: whoever leads next sends an image."""
    cluster, follower = lagging
    limit_rate(cluster, 4 << 20)
    sender = wait_sender(cluster, follower)
    other = next(node for node in cluster.nodes if node not in (sender, follower))
    sender.kill()
    assert not adopted(follower) and 'msg="sending' not in other.log()
    ends_equal(cluster, follower)
    assert 'msg="sent"' in other.log() and 'msg="sent"' not in sender.log()
    sender.start()
    check_equal(cluster, sender)
    check_equal(cluster, follower)


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_sender_comes_back(lagging, how):
    """Killed or stopped midway, it is there again at once, and may lead again."""
    cluster, follower = lagging
    limit_rate(cluster, 4 << 20)
    sender = wait_sender(cluster, follower)
    if how == "stop":
        assert sender.stop() == 0  # it does not wait for the image
    else:
        sender.kill()
    assert not adopted(follower) and 'msg="sent"' not in sender.log()
    sender.start()
    ends_equal(cluster, follower)


def test_while_everything_goes_on(lagging):
    """Puts and compactions go on while the image is sent, and arrive too."""
    cluster, follower = lagging
    stop = threading.Event()
    failures = []

    def write():
        leader = cluster.wait_leader()
        with leader.channel() as channel:
            stub = rpc_pb2_grpc.KVStub(channel)
            i = 0
            while not stop.is_set():
                try:
                    put = stub.Put(rpc_pb2.PutRequest(key=b"busy/%d" % (i % 50), value=b"%d" % i),
                                   timeout=20)
                    if i % 40 == 39:
                        stub.Compact(rpc_pb2.CompactionRequest(revision=put.header.revision - 5),
                                     timeout=20)
                except Exception as error:  # noqa: BLE001
                    failures.append(error)
                    return
                i += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        follower.start()
        wait_for(lambda: adopted(follower), "the follower to start from an image")
    finally:
        stop.set()
        thread.join()
    assert not failures, failures
    check_equal(cluster, follower)
