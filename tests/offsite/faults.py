# SPDX-License-Identifier: Apache-2.0
"""A bad network and a bad day of the server, between a client and a real S3 server.

It ends TLS with the server's own certificate, reads one request, asks the test what is to become
of it, and passes it on unchanged, so that signatures hold. One request a connection.
"""
import dataclasses
import socket
import ssl
import threading
import time


@dataclasses.dataclass
class Fault:
    answer: tuple = None          # (status, headers, body), and nothing is passed on
    cut_request_at: int = None    # after so many bytes of its body; nothing more is passed on
    flip_at: int = None           # alter this byte of the request's body
    lose_answer: bool = False     # the server gets all of it, the client hears nothing
    cut_answer_at: int = None     # after so many bytes of the answer's body
    stall: bool = False           # answer nothing until close()
    bytes_per_second: int = None  # of the request's body


@dataclasses.dataclass
class Request:
    number: int  # of all, from 1
    method: str
    path: str
    query: str
    headers: dict
    size: int


def error(status, code, **headers):
    body = f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
    return Fault(answer=(status, {name.replace("_", "-"): str(value)
                                  for name, value in headers.items()}, body))


class Faults:
    """@ceph: the server behind. @plan: Request -> Fault or None; called on many threads, one at a
    time. @seen: all requests so far. @port: of one that was closed, to take its place."""

    def __init__(self, ceph, plan=lambda request: None, port=0):
        self.ceph, self.plan = ceph, plan
        self.seen = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.load_cert_chain(ceph.dir / "server.pem", ceph.dir / "server.key")
        self._client = ssl.create_default_context(cafile=str(ceph.ca))
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"https://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._closed.is_set():
            return
        self._closed.set()
        # A listener that is only closed keeps its thread in accept, and its port.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        try:
            with self._server.wrap_socket(raw, server_side=True) as client:
                self._one(client)
        except (OSError, ValueError):
            pass  # whoever is cut hears of it
        finally:
            raw.close()

    # ---- One request ----

    def _one(self, client):
        head, rest = read_head(client)
        if head is None:
            return
        request = self._note(head)
        fault = self._decide(request)
        if "100-continue" in request.headers.get("expect", "") and fault.answer is None:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault.stall:
            self._closed.wait()
        elif fault.answer is not None:
            drain(client, request.size - len(rest))
            client.sendall(make_answer(*fault.answer))
        else:
            self._pass_on(client, head, rest, request, fault)

    def _note(self, head):
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = {name.strip().lower(): value.strip()
                   for name, _, value in (line.partition(":") for line in lines[1:] if line)}
        path, _, query = target.partition("?")
        with self._lock:
            request = Request(len(self.seen) + 1, method, path, query, headers,
                              int(headers.get("content-length", 0)))
            self.seen.append(request)
        return request

    def _decide(self, request):
        with self._lock:
            return self.plan(request) or Fault()

    def _pass_on(self, client, head, rest, request, fault):
        raw = socket.create_connection(("127.0.0.1", self.ceph.port), timeout=30)
        with self._client.wrap_socket(raw, server_hostname="localhost") as server:
            lines = [line for line in head.split(b"\r\n") if line and
                     not line.lower().startswith((b"expect:", b"connection:"))]
            server.sendall(b"\r\n".join(lines) + b"\r\nConnection: close\r\n\r\n")
            if not self._pass_body(client, server, rest, request.size, fault):
                return
            if fault.lose_answer:
                read_head(server)
                return
            pass_answer(server, client, fault.cut_answer_at)

    def _pass_body(self, client, server, piece, size, fault):
        """False when it is cut."""
        done = 0
        while True:
            if fault.flip_at is not None and done <= fault.flip_at < done + len(piece):
                piece = bytearray(piece)
                piece[fault.flip_at - done] ^= 1
            if fault.cut_request_at is not None and done + len(piece) >= fault.cut_request_at:
                server.sendall(piece[:fault.cut_request_at - done])
                return False
            server.sendall(piece)
            done += len(piece)
            if done >= size:
                return True
            if fault.bytes_per_second:
                time.sleep(len(piece) / fault.bytes_per_second)
            piece = client.recv(65536)
            if not piece:
                return False


def read_head(peer):
    """(head without the empty line, what came behind it); (None, b"") at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = peer.recv(65536)
        if not more:
            return None, b""
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def drain(peer, size):
    while size > 0:
        more = peer.recv(65536)
        if not more:
            return
        size -= len(more)


def make_answer(status, headers, body):
    lines = [f"HTTP/1.1 {status} Planned", f"Content-Length: {len(body)}", "Connection: close",
             *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def pass_answer(server, client, cut_at):
    head, piece = read_head(server)
    if head is None:
        return
    client.sendall(head + b"\r\n\r\n")
    done = 0
    while piece or done == 0:
        if cut_at is not None and done + len(piece) >= cut_at:
            client.sendall(piece[:cut_at - done])
            return
        client.sendall(piece)
        done += len(piece)
        piece = server.recv(65536)
        if not piece:
            return
