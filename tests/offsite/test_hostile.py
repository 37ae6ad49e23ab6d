# SPDX-License-Identifier: Apache-2.0
"""What a server says that means no good, or that has permissions of its own kind: a server of the
test's, which answers whatever the test wants."""
import contextlib
import http.server
import socket
import threading
import urllib.parse

import pytest
from target import Outcome, start_tool

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "something"}


class Bucket:
    """Keeps objects, with the right answers; @refuses: (method, query) -> status or None."""

    def __init__(self, refuses=lambda method, query: None):
        self.objects, self.refuses, self.seen = {}, refuses, []

    def answer(self, method, path, query, body):
        self.seen.append((method, query))
        status = self.refuses(method, query)
        if status is not None:
            return status, {}, b"<Error><Code>AccessDenied</Code></Error>"
        if method == "PUT":
            self.objects.setdefault(path, body) if query else self.objects.update({path: body})
            return 200, {"ETag": '"1"'}, b""
        if path not in self.objects and path != "/bucket":
            return 404, {}, b""
        if method == "DELETE":
            del self.objects[path]
            return 204, {}, b""
        return 200, {"ETag": '"1"'}, self.objects.get(path, b"")


@contextlib.contextmanager
def serving(answer):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            parts = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = answer(self.command, parts.path, parts.query, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def run(answer, *arguments, environment=None, **settings):
    with serving(answer) as endpoint:
        process = start_tool("s3://bucket", *arguments, endpoint=endpoint,
                             environment=KEYS if environment is None else environment,
                             **{"attempts": 2, **settings})
        out, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 1) and not errors, out + errors
    return Outcome(out)


@pytest.fixture
def content(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(b"sealed")
    return path


EVIL = 'x" level=fatal msg="all is lost'


def test_what_a_server_calls_its_region_is_not_repeated():
    def header(*_):
        return 403, {"x-amz-bucket-region": EVIL}, b""

    def document(method, path, query, body):
        return 200, {}, f"<LocationConstraint>{EVIL}</LocationConstraint>".encode()
    outcome = run(header, "probe")
    assert outcome.status == "REFUSED" and "lost" not in outcome.sentence
    outcome = run(document, "probe", region="eu-west-3", regions_allowed="eu-west-3")
    assert "lost" not in outcome.sentence

    def plain(*_):
        return 403, {"x-amz-bucket-region": "eu-west-1"}, b""
    assert "its region is eu-west-1" in run(plain, "probe").sentence


def test_a_bucket_that_does_not_say_where_it_is():
    bucket = Bucket(lambda method, query: 403 if query == "location=" else None)
    outcome = run(bucket.answer, "probe", region="eu-west-3", regions_allowed="eu-west-3")
    assert outcome.status == "REFUSED"
    assert "does not say in which region" in outcome.sentence
    assert run(bucket.answer, "probe", region="eu-west-3").status == "OK"

    def header(method, path, query, body):
        status, headers, content = bucket.answer(method, path, query, body)
        return status, headers | {"x-amz-bucket-region": "eu-west-3"}, content
    assert run(header, "probe", region="eu-west-3", regions_allowed="eu-west-3").status == "OK"


def test_a_page_without_end():
    entry = b"<Contents><Key>a</Key></Contents>"

    def page(count):
        return lambda *_: (200, {}, b"<ListBucketResult>" + entry * count + b"</ListBucketResult>")
    assert run(page(1000), "list", "").names == ["a"] * 1000
    outcome = run(page(100000), "list", "")
    assert outcome.status == "FORMAT" and "more than 10000" in outcome.sentence


def test_a_server_that_does_not_know_of_prefixes():
    """What it lists beside what was asked for is somebody else's, and not to be pruned."""
    names = b"".join(b"<Contents><Key>%s</Key></Contents>" % name for name in (b"a/1", b"b/1"))
    outcome = run(lambda *_: (200, {}, b"<ListBucketResult>" + names + b"</ListBucketResult>"),
                  "list", "b/")
    assert outcome.names == ["b/1"]


def test_what_cannot_be_locked_does_not_stay(content):
    """The retry of a shipment has another name: what stayed would fill the target."""
    bucket = Bucket(lambda method, query: 403 if "retention" in query else None)
    outcome = run(bucket.answer, "put", "a", content, lock=1, retain_until_ms=4000000000000)
    assert outcome.status == "REFUSED" and "not locked" in outcome.sentence
    assert ("PUT", "") in bucket.seen and bucket.objects == {}


def test_who_may_not_remove_may_ship():
    bucket = Bucket(lambda method, query: 403 if method == "DELETE" else None)
    assert run(bucket.answer, "probe-writing").status == "OK"
    assert len(bucket.objects) == 1
    bucket = Bucket(lambda method, query: 403 if method == "PUT" else None)
    assert run(bucket.answer, "probe-writing").status == "REFUSED"


def test_other_credentials_are_tried_when_one_attempt_is_all(tmp_path):
    calls = tmp_path / "calls"
    command = (f"echo >>{calls}; printf 'aws_access_key_id=key%d\\naws_secret_access_key=s' "
               f"$(wc -l <{calls})")

    def refuse_first(method, path, query, body):
        refuse_first.seen += 1
        return 403 if refuse_first.seen == 1 else 200, {"ETag": '"1"'}, b""
    refuse_first.seen = 0
    outcome = run(refuse_first, "probe", environment={}, credentials_command=command, attempts=1)
    assert outcome.status == "OK" and refuse_first.seen > 1
    assert calls.read_text().count("\n") == 2


def test_short_lived_credentials_are_not_asked_for_with_each_request(content, tmp_path):
    calls = tmp_path / "calls"
    answer = tmp_path / "answer"
    answer.write_text('{"Version": 1, "AccessKeyId": "someone", "SecretAccessKey": "something", '
                      '"Expiration": "2020-01-01T00:00:00Z"}')
    bucket = Bucket()
    outcome = run(bucket.answer, "put", "a", content, environment={},
                  credentials_command=f"echo >>{calls}; cat {answer}")
    assert outcome.status == "OK" and outcome.requests >= 3
    assert calls.read_text() == "\n"


@pytest.mark.parametrize("line", ["HTTP/1.1 2x0 OK", "HTTP/1.1  200 OK"])
def test_a_status_that_is_none(line):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(line.encode() + b"\r\nContent-Length: 0\r\n\r\n")
        threading.Thread(target=serve, daemon=True).start()
        process = start_tool("s3://bucket", "probe", attempts=1, environment=KEYS,
                             endpoint=f"http://127.0.0.1:{server.getsockname()[1]}")
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and not errors, out + errors
