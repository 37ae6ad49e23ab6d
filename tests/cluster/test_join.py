# SPDX-License-Identifier: Apache-2.0
"""What passes between a node that wants to come in and the member that it asks, said by hand."""

import pathlib
import signal
import socket
import ssl
import struct

import pytest
from cluster import Cluster, Pki, wait_for
from test_bad_input import varint
from test_membership import add, etcdctl_add, wait_settled
from test_peer_port import ALPN, FORMAT

LEVEL = 3
JOIN = 2  # purpose of a hello
HELLO, REQUEST, REPLY = 1, 34, 35  # kinds of message in an envelope
REFUSAL, LATER, MEMBER_ID = 1, 2, 4  # fields of a reply


@pytest.fixture
def settled(cluster):
    wait_settled(cluster)
    return cluster


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def frame(kind, message):
    envelope = text(kind, message)
    return struct.pack(">II", 4 + len(envelope), len(envelope)) + envelope


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7f) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields_of(message):
    """The last value of each field."""
    found, at = {}, 0
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == 0:
            found[tag >> 3], at = read_varint(message, at)
        elif tag & 7 == 1:
            found[tag >> 3], at = message[at:at + 8], at + 8
        else:
            size, at = read_varint(message, at)
            found[tag >> 3], at = message[at:at + size], at + size
    return found


class Asker:
    """One connection to join, of the node that has the certificate @name of @pki."""

    def __init__(self, member, name, pki):
        context = member.cluster.tls_context(name, pki=pki, alpn=ALPN)
        raw = socket.create_connection((member.address, member.peer_port), timeout=60)
        self.stream = context.wrap_socket(raw, server_hostname="localhost")
        self.stream.sendall(frame(HELLO, number(4, FORMAT) + number(5, LEVEL) + number(7, 1) +
                                  number(8, JOIN)))
        assert HELLO in self.receive()

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.stream.recv(size - len(data))
            assert more, "hung up"
            data += more
        return data

    def receive(self):
        total, size = struct.unpack(">II", self.take(8))
        return fields_of(self.take(total - 4)[:size])

    def ask(self, node, token):
        message = (text(1, node.name.encode()) + text(2, node.zone.encode()) +
                   text(3, node.peer_address.encode()) + text(4, node.endpoint.encode()) +
                   text(5, token) + number(6, LEVEL))
        self.stream.sendall(frame(REQUEST, message))

    def answer(self):
        return fields_of(self.receive()[REPLY])

    def has_answer(self):
        self.stream.setblocking(False)
        try:
            return self.stream.recv(1) is not None
        except ssl.SSLWantReadError:
            return False
        finally:
            self.stream.settimeout(60)

    def close(self):
        self.stream.close()


def ask(member, node, token, pki=None):
    """The answer to one request."""
    asker = Asker(member, node.name, pki or member.cluster.pki)
    asker.ask(node, token)
    answer = asker.answer()
    asker.close()
    return answer


def make_place(cluster, how):
    """A node that is to come, and its token."""
    if how == "address":
        node = cluster.new_node("n4", "a")
        etcdctl_add(cluster, node)
        return node, b""
    token_file = cluster.dir / "token"
    node = cluster.new_node("n4", "a", token_file)
    add(cluster, node, "--token-file", token_file)
    return node, token_file.read_bytes().strip()


def is_taken(cluster, node):
    member = cluster.members().get("members", {}).get(node.name)
    return member is not None and member["started"]


@pytest.mark.parametrize("how", ["token", "address"])
def test_an_answer_that_was_lost_costs_nothing(settled, tmp_path, how):
    cluster = settled
    first, second, _ = cluster.nodes
    node, token = make_place(cluster, how)
    lost = Asker(first, node.name, cluster.pki)
    lost.ask(node, token)
    lost.close()
    wait_for(lambda: is_taken(cluster, node), "the place to be taken")

    # Another node with the same name does not get it, whatever it knows.
    (tmp_path / "twin").mkdir()
    twin = Pki.__new__(Pki)
    twin.dir = tmp_path / "twin"
    for name in ("ca.crt", "ca.key"):
        (twin.dir / name).write_bytes(cluster.pki.read(name))
        (twin.dir / name).chmod(0o600)
    twin.node(node.name, node.address)
    wait_for(lambda: is_taken_at(second, cluster, node), "the second to know it")
    refusal = ask(second, node, token, twin)
    assert REFUSAL in refusal and not refusal.get(LATER), refusal
    # It does itself, from any member, as often as it likes, and always as the same member.
    ids = {ask(member, node, token).get(MEMBER_ID) for member in (second, first, second)}
    assert len(ids) == 1 and ids != {None}, ids

    node.start()
    cluster.strongroom("member", "wait", node.name)
    cluster.wait_ready()
    assert cluster.members()["members"][node.name]["role"] == "voter"
    # Now that it is there, nobody gets its identity any more.
    refusal = ask(first, node, token)
    assert REFUSAL in refusal and not refusal.get(LATER), refusal
    cluster.still_serves()


def is_taken_at(member, cluster, node):
    known = cluster.members([member])["members"].get(node.name)
    return known is not None and known["started"]


@pytest.fixture
def patient(tmp_path):
    """A leader that has lost all others goes on for a while."""
    cluster = Cluster(tmp_path, 3, election_timeout_ms=3000)
    try:
        cluster.start()
        wait_settled(cluster)
        yield cluster
    finally:
        for node in cluster.nodes:
            if node.is_running():
                node.process.send_signal(signal.SIGCONT)
        cluster.close()


def freeze(nodes):
    """Returns when all their threads have stopped: the signal alone takes a moment."""
    def has_stopped(thread):
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"

    for node in nodes:
        node.process.send_signal(signal.SIGSTOP)
    for node in nodes:
        threads = pathlib.Path(f"/proc/{node.process.pid}/task")
        wait_for(lambda threads=threads: all(has_stopped(one) for one in threads.iterdir()),
                 f"{node.name} to stand still")


def test_one_claim_does_not_wait_for_another(patient):
    """A claim that cannot be committed keeps nobody else waiting."""
    cluster = patient
    leader = cluster.wait_leader()
    others = [node for node in cluster.nodes if node is not leader]
    node, token = make_place(cluster, "token")
    wait_for(lambda: node.name in cluster.members([leader])["members"], "the leader to know it")
    waiting = Asker(leader, node.name, cluster.pki)
    freeze(others)
    waiting.ask(node, token)
    refusal = ask(leader, node, b"0" * 64)
    assert b"no place waits for this token" in refusal[REFUSAL], refusal
    assert not waiting.has_answer()
    # It is told to come again.
    answer = waiting.answer()
    assert answer.get(LATER) == 1, answer
    waiting.close()
    for other in others:
        other.process.send_signal(signal.SIGCONT)
    cluster.wait_ready()
    node.start()
    cluster.strongroom("member", "wait", node.name)
    cluster.still_serves()


def test_what_is_no_request_is_refused(settled):
    cluster = settled
    first = cluster.nodes[0]
    node, token = make_place(cluster, "token")
    asker = Asker(first, node.name, cluster.pki)
    asker.stream.sendall(frame(HELLO, number(4, FORMAT)))
    with pytest.raises((AssertionError, OSError)):
        asker.receive()
    asker.close()
    wait_for(lambda: "a message of kind 1 where a request is expected" in first.log(),
             "the reason in the log")
    node.name = "n4\" forged=\"yes"
    asker = Asker(first, "n4", cluster.pki)
    asker.ask(node, token)
    assert b"malformed" in asker.answer()[REFUSAL]
    asker.close()
    assert "forged" not in first.log()
    cluster.still_serves()


def test_a_node_may_come_a_moment_before_its_place(settled):
    """Whom it asks may not have heard of its place yet."""
    cluster = settled
    node = cluster.new_node("n4", "a")
    node.start()
    wait_for(lambda: 'part=join msg="not yet"' in node.log(), "it to be turned away")
    etcdctl_add(cluster, node)
    cluster.strongroom("member", "wait", node.name)
    cluster.wait_ready()
    cluster.still_serves()
