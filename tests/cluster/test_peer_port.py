# SPDX-License-Identifier: Apache-2.0
"""Who may speak on the peer port, and as whom."""

import socket
import ssl
import struct

import pytest
from test_bad_input import varint

ALPN = ("strongroom-peer",)
FORMAT = 1


@pytest.fixture(autouse=True)
def goes_on(shared):
    yield
    shared.still_serves()


def ids(shared):
    """Cluster id, and member ids by name."""
    status = shared.nodes[0].status()
    members = shared.etcdctl_json("member", "list")["members"]
    return status.header.cluster_id, {member["name"]: member["ID"] for member in members}


def hello(cluster, member, target, form=FORMAT, session=1):
    """A frame: total, length of the envelope, envelope with a Hello in field 1."""
    message = b""
    for field, value in ((1, cluster), (2, member), (3, target), (4, form), (5, 1), (7, session)):
        message += varint(field << 3) + varint(value)
    envelope = b"\x0a" + varint(len(message)) + message
    return struct.pack(">II", 4 + len(envelope), len(envelope)) + envelope


def say(shared, certificate, data):
    """Send data to n1 with a certificate; what it says until it hangs up or goes silent."""
    context = shared.tls_context(certificate, alpn=ALPN)
    connection = socket.create_connection(("127.0.0.1", shared.nodes[0].peer_port), timeout=20)
    received = b""
    with context.wrap_socket(connection, server_hostname="localhost") as stream:
        try:
            stream.sendall(data)
            while True:
                more = stream.recv(4096)
                if not more:
                    return received
                received += more
        except (ssl.SSLError, ConnectionError):
            return received


@pytest.mark.parametrize("certificate, claim, text", [
    ("n2", "n3", "certificate"),    # a member that claims to be another
    ("app", "n2", "certificate"),   # a client that claims to be a member
    ("n2", "nobody", "member"),     # not in the configuration
    ("n1", "n1", "member"),         # itself
])
def test_claims_that_the_certificate_does_not_bear(shared, certificate, claim, text):
    cluster, members = ids(shared)
    answer = say(shared, certificate, hello(cluster, members.get(claim, 4711), members["n1"]))
    assert text in answer.decode(errors="replace"), answer


def test_another_cluster(shared):
    cluster, members = ids(shared)
    answer = say(shared, "n2", hello(cluster ^ 1, members["n2"], members["n1"]))
    assert "cluster" in answer.decode(errors="replace"), answer


def test_meant_for_another_member(shared):
    cluster, members = ids(shared)
    answer = say(shared, "n2", hello(cluster, members["n2"], members["n3"]))
    assert "member" in answer.decode(errors="replace"), answer


def test_another_format(shared):
    cluster, members = ids(shared)
    answer = say(shared, "n2", hello(cluster, members["n2"], members["n1"], form=99))
    assert "format" in answer.decode(errors="replace"), answer
