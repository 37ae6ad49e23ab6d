# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-etcd3."""

import etcd3
import pytest


@pytest.fixture(scope="module")
def client(shared):
    pki = shared.pki
    client = etcd3.client(host="127.0.0.1", port=shared.nodes[0].client_port,
                          ca_cert=pki.path("ca.crt"), cert_cert=pki.path("app.crt"),
                          cert_key=pki.path("app.key"), timeout=10)
    yield client
    client.close()


def test_put_get_delete(client):
    client.put("py/a", "1")
    value, metadata = client.get("py/a")
    assert value == b"1"
    assert metadata.key == b"py/a" and metadata.version == 1
    client.put("py/a", "2")
    value, metadata = client.get("py/a")
    assert value == b"2" and metadata.version == 2
    assert client.delete("py/a") is True
    assert client.delete("py/a") is False
    assert client.get("py/a")[0] is None


def test_prefix(client):
    for i in range(10):
        client.put(f"py/p/{i}", str(i))
    pairs = [(metadata.key, value) for value, metadata in client.get_prefix("py/p/")]
    assert pairs == [(f"py/p/{i}".encode(), str(i).encode()) for i in range(10)]
    assert len(list(client.get_range("py/p/3", "py/p/6"))) == 3
    assert client.delete_prefix("py/p/").deleted == 10


def test_transaction(client):
    client.put("py/t", "1")
    succeeded, responses = client.transaction(
        compare=[client.transactions.value("py/t") == "1",
                 client.transactions.version("py/t") > 0],
        success=[client.transactions.put("py/t", "2"), client.transactions.get("py/t")],
        failure=[client.transactions.delete("py/t")])
    assert succeeded and responses[1][0][0] == b"2"
    succeeded, _ = client.transaction(
        compare=[client.transactions.value("py/t") == "1"],
        success=[], failure=[client.transactions.delete("py/t")])
    assert not succeeded
    assert client.get("py/t")[0] is None


def test_replace_is_atomic(client):
    client.put("py/r", "1")
    assert client.replace("py/r", "1", "2") is True
    assert client.replace("py/r", "1", "3") is False
    assert client.get("py/r")[0] == b"2"


def test_status_and_members(client, shared):
    status = client.status()
    assert status.version == "3.5.0"
    assert status.leader.name in {node.name for node in shared.nodes}
    assert sorted(member.name for member in client.members) == ["n1", "n2", "n3"]


def test_compaction(client):
    client.put("py/c", "1")
    header = client.put("py/c", "2").header
    client.compact(header.revision)
    assert client.get("py/c")[0] == b"2"
