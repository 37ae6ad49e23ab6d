# SPDX-License-Identifier: Apache-2.0
"""Requests with an id take effect once, long ranges come whole, full disks refuse only puts."""

import grpc
import pytest
from cluster import Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

# ---- Exactly once ----


def with_id(number):
    return [("strongroom-request-id", f"{number:032x}")]


def put_until_done(cluster, key, value, number):
    """Retry one request through any node until it is answered; returns the answer."""
    request = rpc_pb2.PutRequest(key=key, value=value, prev_kv=True)

    def attempt():
        for node in cluster.nodes:
            if node.is_running():
                with node.channel() as channel:
                    try:
                        return rpc_pb2_grpc.KVStub(channel).Put(request, timeout=5,
                                                                metadata=with_id(number))
                    except grpc.RpcError:
                        pass
        return None

    return wait_for(attempt, "a put to be answered")


def revision_and_version(cluster, key):
    with cluster.wait_leader().channel() as channel:
        response = rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=key), timeout=20)
    return response.header.revision, response.kvs[0].version


def test_a_retried_request_takes_effect_once(cluster):
    first = put_until_done(cluster, b"once", b"1", 1)
    assert not first.HasField("prev_kv")
    other = put_until_done(cluster, b"once", b"2", 2)
    assert other.prev_kv.value == b"1"
    for _ in range(3):
        again = put_until_done(cluster, b"once", b"1", 1)
        assert again.header.revision == first.header.revision
        assert not again.HasField("prev_kv")
    assert revision_and_version(cluster, b"once") == (other.header.revision, 2)

    # It is remembered by whoever leads next, and over restarts.
    cluster.wait_leader().kill()
    again = put_until_done(cluster, b"once", b"2", 2)
    assert (again.header.revision, again.prev_kv.value) == (other.header.revision, b"1")
    for node in cluster.nodes:
        if node.process is not None:
            node.kill()
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    again = put_until_done(cluster, b"once", b"2", 2)
    assert (again.header.revision, again.prev_kv.value) == (other.header.revision, b"1")
    assert revision_and_version(cluster, b"once") == (other.header.revision, 2)


def test_retries_across_a_dying_leader_count_once(cluster):
    leader = cluster.wait_leader()
    for number in range(1, 21):
        if number == 10:
            leader.kill()
        put_until_done(cluster, b"counted", str(number).encode(), number)
        put_until_done(cluster, b"counted", str(number).encode(), number)
    _, version = revision_and_version(cluster, b"counted")
    assert version == 20


def test_a_malformed_id_is_refused(shared):
    with shared.nodes[0].channel() as channel:
        with pytest.raises(grpc.RpcError) as failed:
            rpc_pb2_grpc.KVStub(channel).Put(rpc_pb2.PutRequest(key=b"k"), timeout=20,
                                             metadata=[("strongroom-request-id", "xyz")])
    assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "must be 32 hexadecimal digits" in failed.value.details()


# ---- Long ranges ----

def test_long_ranges_come_whole(shared):
    count = 5000
    with shared.nodes[0].channel() as channel:
        kv = rpc_pb2_grpc.KVStub(channel)
        for start in range(0, count, 100):
            kv.Txn(rpc_pb2.TxnRequest(success=[
                rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"long/%05d" % i,
                                                                 value=b"v" * 1000))
                for i in range(start, start + 100)]), timeout=20)
    for node in shared.nodes:
        with node.channel() as channel:
            kv = rpc_pb2_grpc.KVStub(channel)
            everything = rpc_pb2.RangeRequest(key=b"long/", range_end=b"long0")
            response = kv.Range(everything, timeout=20)
            assert [pair.key for pair in response.kvs] == [b"long/%05d" % i for i in range(count)]
            assert response.count == count and not response.more
            page = kv.Range(rpc_pb2.RangeRequest(key=b"long/", range_end=b"long0", limit=10,
                                                 sort_order="DESCEND", sort_target="MOD"))
            assert page.count == count and page.more and len(page.kvs) == 10
            assert page.kvs[0].mod_revision >= page.kvs[9].mod_revision
    assert shared.etcdctl("del", "long/", "--prefix").stdout == f"{count}\n"


# ---- A full disk ----

@pytest.fixture
def full(tmp_path):
    """A cluster whose nodes want more free disk than there is."""
    cluster = Cluster(tmp_path, 3, storage={"disk_reserve_bytes": 1 << 40})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def test_a_full_disk_refuses_puts_only(full):
    def refused():
        failed = full.etcdctl("put", "k", "v", check=False)
        return failed.returncode != 0 and "database space exceeded" in failed.stderr
    wait_for(refused, "a put to be refused")

    def all_are_short():
        return full.etcdctl("alarm", "list", nodes=full.nodes[:1]).stdout.count(
            "alarm:NOSPACE") == 3
    wait_for(all_are_short, "the alarms")
    assert "alarm:NOSPACE" in full.etcdctl("endpoint", "status", "-w", "fields").stdout
    assert full.etcdctl("get", "k").returncode == 0
    assert full.etcdctl("del", "k").returncode == 0
    full.etcdctl("alarm", "disarm", nodes=full.nodes[:1])
    wait_for(all_are_short, "the alarms to come back: the disks are as they were")
    # With room it comes right by itself.
    full.storage = {}
    for node in full.nodes:
        node.kill()
        node.write_config()
        node.start()
    full.wait_ready()
    wait_for(lambda: full.etcdctl("alarm", "list").stdout == "", "the alarms to go")
    full.put("k", "v")
