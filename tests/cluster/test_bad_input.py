# SPDX-License-Identifier: Apache-2.0
"""What nobody should send: each gets a clear answer, and the cluster goes on."""

import random
import socket
import ssl

import grpc
import pytest
from cluster import Pki
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

RANDOM = random.Random(1).randbytes(4096)


@pytest.fixture(autouse=True)
def goes_on(shared):
    yield
    shared.still_serves()


@pytest.fixture
def channel(shared):
    with shared.nodes[0].channel() as channel:
        yield channel


@pytest.fixture
def kv(channel):
    return rpc_pb2_grpc.KVStub(channel)


def expect(code, text, call, *arguments):
    with pytest.raises(grpc.RpcError) as failed:
        call(*arguments, timeout=20)
    assert failed.value.code() == code, failed.value
    assert text in failed.value.details()


def raw(channel, path, message):
    """A unary call of bytes that no stub would make."""
    call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
    return call(message, timeout=20)


# ---- Requests ----

def test_oversize_key(kv):
    longest = b"k" * 465
    kv.Put(rpc_pb2.PutRequest(key=longest, value=b"v"))
    assert kv.Range(rpc_pb2.RangeRequest(key=longest)).count == 1
    expect(grpc.StatusCode.INVALID_ARGUMENT, "key is longer than 465 bytes", kv.Put,
           rpc_pb2.PutRequest(key=b"k" * 466, value=b"v"))
    assert kv.Range(rpc_pb2.RangeRequest(key=b"k" * 466)).count == 0


def test_oversize_value(kv):
    kv.Put(rpc_pb2.PutRequest(key=b"large", value=b"v" * (1536 * 1024 - 500)))
    expect(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large", kv.Put,
           rpc_pb2.PutRequest(key=b"large", value=b"v" * (1536 * 1024)))
    expect(grpc.StatusCode.RESOURCE_EXHAUSTED, "received message larger than max", kv.Put,
           rpc_pb2.PutRequest(key=b"large", value=b"v" * (2048 * 1024)))
    assert len(kv.Range(rpc_pb2.RangeRequest(key=b"large")).kvs[0].value) == 1536 * 1024 - 500
    kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"large"))


def put_op(key):
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=b"v"))


def test_oversize_txn(kv):
    ops = [put_op(b"txn/%d" % i) for i in range(129)]
    assert kv.Txn(rpc_pb2.TxnRequest(success=ops[:128])).succeeded
    expect(grpc.StatusCode.INVALID_ARGUMENT, "too many operations in txn request", kv.Txn,
           rpc_pb2.TxnRequest(success=ops))
    kv.DeleteRange(rpc_pb2.DeleteRangeRequest(key=b"txn/", range_end=b"txn0"))


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_txn_nested_10000_deep(channel):
    message = b""
    for _ in range(10000):
        message = b"\x22" + varint(len(message)) + message  # RequestOp.request_txn
        message = b"\x12" + varint(len(message)) + message  # TxnRequest.success
    with pytest.raises(grpc.RpcError) as failed:
        raw(channel, "/etcdserverpb.KV/Txn", message)
    assert failed.value.code() == grpc.StatusCode.INTERNAL
    assert "grpc: error unmarshalling request" in failed.value.details()


@pytest.mark.parametrize("message", [b"\xff" * 64, b"\x0a\x7f", RANDOM, b"\x0a\xff\xff\xff\xff\x0f",
                                     b"\x00"], ids=["ff", "cut", "random", "huge", "zero"])
def test_malformed_messages(channel, message):
    for path in ("KV/Range", "KV/Put", "KV/Txn", "KV/DeleteRange", "Maintenance/Alarm"):
        with pytest.raises(grpc.RpcError) as failed:
            raw(channel, f"/etcdserverpb.{path}", message)
        assert failed.value.code() == grpc.StatusCode.INTERNAL
        assert "grpc: error unmarshalling request" in failed.value.details()


def test_unknown_methods(channel):
    for path, text in (("/etcdserverpb.KV/Nothing",
                        "unknown method Nothing for service etcdserverpb.KV"),
                       ("/etcdserverpb.Watch/Watch", "unknown service etcdserverpb.Watch"),
                       ("/a.B/C", "unknown service a.B")):
        with pytest.raises(grpc.RpcError) as failed:
            raw(channel, path, b"")
        assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert failed.value.details() == text


def test_health_service(channel):
    assert raw(channel, "/grpc.health.v1.Health/Check", b"") == b"\x08\x01"


# ---- Connections ----

def ports(shared):
    node = shared.nodes[0]
    return {"client": node.client_port, "peer": node.peer_port}


@pytest.mark.parametrize("port", ["client", "peer"])
@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", RANDOM,
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 4096,
                                  b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
                         ids=["nothing", "http", "random", "http2", "zeros", "half-hello"])
def test_garbage_instead_of_tls(shared, port, data):
    connections = []
    for _ in range(5):
        connection = socket.create_connection(("127.0.0.1", ports(shared)[port]), timeout=20)
        connection.sendall(data)
        connections.append(connection)
    for connection in connections:  # those with half a handshake go away in the middle
        connection.close()


@pytest.mark.parametrize("port", ["client", "peer"])
def test_half_a_handshake_does_not_hold_others_up(shared, port):
    with socket.create_connection(("127.0.0.1", ports(shared)[port]), timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01")
        shared.still_serves()  # while it waits


def handshake(shared, context, port, server_name="localhost"):
    """The TLS stream; whether the server refuses our certificate shows in the first read."""
    connection = socket.create_connection(("127.0.0.1", ports(shared)[port]), timeout=20)
    return context.wrap_socket(connection, server_hostname=server_name)


def expect_refused(shared, context, port, data=b""):
    """No conversation: an alert, or the end, before anything useful."""
    try:
        with handshake(shared, context, port) as stream:
            if data:
                stream.sendall(data)
            received = stream.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return
    assert received == b""


@pytest.mark.parametrize("port", ["client", "peer"])
def test_no_certificate(shared, port):
    expect_refused(shared, shared.tls_context(certificate=False, alpn=alpn_of(port)), port)


@pytest.mark.parametrize("port", ["client", "peer"])
def test_certificate_of_another_ca(shared, port, tmp_path):
    other = Pki(tmp_path / "pki")
    other.client("app")
    other.node("n2")
    name = "app" if port == "client" else "n2"
    expect_refused(shared, shared.tls_context(name, pki=other, alpn=alpn_of(port)), port)


def test_other_ca_with_grpc(shared, tmp_path):
    other = Pki(tmp_path / "pki")
    other.client("app")
    credentials = grpc.ssl_channel_credentials(shared.pki.read("ca.crt"), other.read("app.key"),
                                               other.read("app.crt"))
    with grpc.secure_channel(f"127.0.0.1:{shared.nodes[0].client_port}", credentials) as channel:
        with pytest.raises(grpc.RpcError) as failed:
            rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"k"), timeout=5)
        assert failed.value.code() in (grpc.StatusCode.UNAVAILABLE,
                                       grpc.StatusCode.DEADLINE_EXCEEDED)


def alpn_of(port):
    return ("h2",) if port == "client" else ("strongroom-peer",)


@pytest.mark.parametrize("port", ["client", "peer"])
@pytest.mark.parametrize("alpn", [("http/1.1",), ()], ids=["http1", "none"])
def test_wrong_alpn(shared, port, alpn):
    client = "app" if port == "client" else "n2"
    expect_refused(shared, shared.tls_context(client, alpn=alpn), port,
                   b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def test_tls_1_2_is_refused(shared):
    context = shared.tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    expect_refused(shared, context, "client")


def test_garbage_inside_tls(shared):
    for data in (RANDOM, b"\0" * 4096, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + RANDOM,
                 b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        with handshake(shared, shared.tls_context(), "client") as stream:
            stream.sendall(data)
            try:
                while stream.recv(4096):
                    pass  # it may say GOAWAY; it must end
            except (ssl.SSLError, ConnectionError):
                pass


@pytest.mark.parametrize("data", [RANDOM, b"\xff" * 64, b"\0" * 4096,
                                  b"\x00\x00\x00\x04\x00\x00\x00\x00abcd"],
                         ids=["random", "ff", "zeros", "frame"])
def test_garbage_inside_peer_tls(shared, data):
    with handshake(shared, shared.tls_context("n2", alpn=alpn_of("peer")), "peer") as stream:
        stream.sendall(data)
        try:
            while stream.recv(4096):
                pass
        except (ssl.SSLError, ConnectionError):
            pass


def test_client_certificate_opens_no_peer_link(shared):
    """A certificate of the right CA, but of no member."""
    expect_refused(shared, shared.tls_context("app", alpn=alpn_of("peer")), "peer", b"\0" * 64)
