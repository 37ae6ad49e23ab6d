# SPDX-License-Identifier: Apache-2.0
"""What an S3 target does on a bad day: nothing that is not complete appears, everything that can
be tried again is, and what cannot gets a sentence."""
import random
import signal
import time

import pytest
from ceph import SECRET_KEY
from faults import Fault, Faults, error
from target import outcome_of

MIB = 1 << 20


def noise(size, seed=2):
    return random.Random(seed).randbytes(size)


def once(matches, fault):
    """A plan: @fault for the first request that @matches."""
    left = [fault]

    def plan(request):
        return left.pop() if left and matches(request) else None
    return plan


def is_put(request):
    return request.method == "PUT"


def is_part(number):
    return lambda request: f"partNumber={number}&" in request.query


@pytest.fixture
def faults(s3):
    with Faults(s3.ceph) as faults:
        s3.settings["endpoint"] = faults.endpoint
        yield faults


def put_in_parts(s3, size=5 * MIB * 2 + 99, **settings):
    outcome = s3.put("a", noise(size), part_bytes=5 * MIB, **settings)
    if outcome.status == "OK":
        assert s3.stored("a") == noise(size)
    else:
        assert s3.client.keys(s3.bucket) == []
    return outcome


# ---- Answers that are errors ----

@pytest.mark.parametrize("answer", [
    error(500, "InternalError"), error(503, "SlowDown"), error(502, ""), error(429, ""),
    error(400, "RequestTimeout"), error(409, "OperationAborted")])
def test_errors_that_pass(s3, faults, answer):
    faults.plan = once(is_part(2), answer)
    outcome = put_in_parts(s3)
    assert outcome.status == "OK" and outcome.retries == 1


@pytest.mark.parametrize("matches", [
    lambda request: request.method == "HEAD",
    lambda request: request.query == "uploads=",
    lambda request: request.query.startswith("uploadId=")])
def test_every_request_is_tried_again(s3, faults, matches):
    faults.plan = once(matches, error(503, "SlowDown"))
    outcome = put_in_parts(s3)
    assert outcome.status == "OK" and outcome.retries == 1


def test_retry_after(s3, faults):
    times = []

    def plan(request):
        times.append(time.monotonic())
        return error(503, "SlowDown", Retry_After=2) if len(times) == 1 else None
    faults.plan = plan
    assert s3.run("list").status == "OK"
    assert times[1] - times[0] >= 2


def test_errors_that_stay(s3, faults):
    faults.plan = lambda request: error(503, "SlowDown") if is_part(2)(request) else None
    outcome = put_in_parts(s3)
    assert outcome.status == "AGAIN" and outcome.retries == 3
    assert "503 SlowDown, 4 attempts" in outcome.sentence and "part 2" in outcome.sentence
    assert s3.client.uploads(s3.bucket) == []


def test_an_error_that_came_too_late_for_the_number(s3, faults):
    """S3 may begin with 200 and find out afterwards."""
    late = error(200, "InternalError")
    faults.plan = once(lambda request: request.query.startswith("uploadId="), late)
    outcome = put_in_parts(s3)
    assert outcome.status == "OK" and outcome.retries == 1


@pytest.mark.parametrize("answer,status", [
    (error(507, "InsufficientStorage"), "NO_SPACE"), (error(403, "QuotaExceeded"), "NO_SPACE"),
    (error(403, "RequestTimeTooSkewed"), "REFUSED"), (error(400, "ExpiredToken"), "REFUSED"),
    (error(301, "PermanentRedirect"), "REFUSED"), (error(501, "NotImplemented"), "FORMAT")])
def test_errors_for_a_person(s3, faults, answer, status):
    faults.plan = lambda request: answer if is_part(1)(request) else None
    outcome = put_in_parts(s3)
    assert outcome.status == status, outcome.text
    assert outcome.retries <= 1 and s3.client.uploads(s3.bucket) == []


def test_an_answer_that_is_not_of_s3(s3, faults):
    faults.plan = lambda request: Fault(answer=(200, {}, b"<html><p>Log in to the hotel</html>"))
    assert s3.run("list").status == "FORMAT"
    faults.plan = lambda request: Fault(
        answer=(200, {}, b'<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult>&a;</ListBucketResult>'))
    assert s3.run("list").status == "FORMAT"


# ---- Connections that break ----

def test_a_request_that_is_cut(s3, faults):
    chance = random.Random(3)
    for part, at in ((1, chance.randrange(5 * MIB)), (2, chance.randrange(5 * MIB)), (3, 98)):
        with Faults(s3.ceph, once(is_part(part), Fault(cut_request_at=at))) as cutting:
            outcome = put_in_parts(s3, replace=1, endpoint=cutting.endpoint)
            assert outcome.status == "OK" and outcome.retries == 1, f"cut at {at}: {outcome.text}"


def test_an_answer_that_is_lost(s3, faults):
    """The server has done it, and nobody knows: parts, single objects, the end of an upload."""
    for matches in (is_part(2), lambda request: request.query.startswith("uploadId=")):
        faults.plan = once(matches, Fault(lose_answer=True))
        outcome = put_in_parts(s3)
        assert outcome.status == "OK" and outcome.retries == 1
        assert s3.run("remove", "a").status == "OK"
    faults.plan = once(is_put, Fault(lose_answer=True))
    assert s3.put("b", b"x").status == "OK" and s3.stored("b") == b"x"


def test_a_download_goes_on_where_it_broke(s3, faults):
    content = noise(3 * MIB)
    s3.put("a", content)
    cuts = iter(random.Random(4).sample(range(1000, 300_000), 6))

    def plan(request):
        at = next(cuts, None) if request.method == "GET" else None
        return Fault(cut_answer_at=at) if at else None
    faults.plan = plan
    outcome, data = s3.get("a")
    assert outcome.status == "OK" and outcome.retries == 6
    assert data == content and outcome.received == len(content)
    outcome, data = s3.get("a", 1 * MIB, 1 * MIB)
    assert outcome.status == "OK" and data == content[1 * MIB:2 * MIB]


def test_a_download_that_is_replaced(s3, faults):
    s3.put("a", noise(2 * MIB))

    def plan(request):
        if request.method == "GET" and "range" not in request.headers:
            s3.client.call("PUT", f"/{s3.bucket}/{s3.key('a')}", body=b"z" * 2 * MIB)
            s3.client.call("PUT", f"/{s3.bucket}/{s3.key('a')}", body=noise(2 * MIB))
            return Fault(cut_answer_at=100_000)
        if request.method == "GET":
            s3.client.call("PUT", f"/{s3.bucket}/{s3.key('a')}", body=b"z" * 2 * MIB)
        return None
    faults.plan = plan
    assert s3.get("a")[0].status == "CORRUPT"


def test_bytes_that_are_altered(s3, faults):
    """The server refuses what is not what was signed; once is bad luck, always is not."""
    faults.plan = once(is_part(2), Fault(flip_at=1_000_000))
    outcome = put_in_parts(s3)
    assert outcome.status == "OK" and outcome.retries == 1
    s3.run("remove", "a")
    faults.plan = lambda request: Fault(flip_at=7) if is_put(request) else None
    outcome = s3.put("a", b"0123456789")
    assert outcome.status == "CORRUPT" and s3.client.keys(s3.bucket) == []


# ---- Servers that are slow, or gone ----

def test_a_server_that_says_nothing(s3, faults):
    faults.plan = once(is_part(1), Fault(stall=True))
    outcome = put_in_parts(s3, stall_timeout_ms=1000)
    assert outcome.status == "OK" and outcome.retries == 1
    s3.run("remove", "a")
    faults.plan = lambda request: Fault(stall=True)
    outcome = put_in_parts(s3, stall_timeout_ms=1000, attempts=2)
    assert outcome.status == "TIMEOUT" and "2 attempts" in outcome.sentence


def test_a_slow_server_is_waited_for(s3, faults):
    """It takes longer than the patience for one that does nothing."""
    faults.plan = lambda request: Fault(bytes_per_second=MIB // 2) if is_put(request) else None
    outcome = s3.put("a", noise(2 * MIB), stall_timeout_ms=3000)
    assert outcome.status == "OK" and s3.stored("a") == noise(2 * MIB)


def test_a_server_that_is_gone(s3, faults):
    faults.close()
    outcome = s3.put("a", b"x", attempts=3)
    assert outcome.status == "NETWORK" and "3 attempts" in outcome.sentence
    outcome = s3.run("list", endpoint="https://no-such-host.invalid", attempts=2)
    assert outcome.status == "NETWORK" and "no-such-host.invalid" in outcome.sentence


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- Being told to stop ----

@pytest.mark.parametrize("fault", [
    Fault(stall=True), Fault(bytes_per_second=1 * MIB), error(503, "SlowDown", Retry_After=60)])
def test_cancel(s3, faults, fault):
    """In whatever it waits, a node that stops is not kept; and nothing is left behind."""
    faults.plan = lambda request: fault if is_put(request) else None
    process = s3.start("put", "a", s3.file("put", noise(12 * MIB)), part_bytes=5 * MIB)
    wait_for(lambda: any(map(is_put, list(faults.seen))))
    process.send_signal(signal.SIGTERM)
    outcome = outcome_of(process, timeout=20)
    assert outcome.status == "CLOSED"
    assert s3.client.keys(s3.bucket) == [] and s3.client.uploads(s3.bucket) == []


def test_bandwidth(s3):
    begun = time.monotonic()
    assert s3.put("a", noise(3 * MIB), bytes_per_second=1 * MIB).status == "OK"
    assert time.monotonic() - begun > 2
    begun = time.monotonic()
    outcome, content = s3.get("a", bytes_per_second=1 * MIB)
    assert outcome.status == "OK" and content == noise(3 * MIB)
    assert time.monotonic() - begun > 1


def test_a_proxy_in_between(s3, tmp_path):
    outcome = s3.run("list", proxy="http://127.0.0.1:1", attempts=1)
    assert outcome.status == "NETWORK"
    outcome = s3.run("list", proxy="http://user:word@127.0.0.1:1")
    assert outcome.status == "INVALID" and SECRET_KEY not in outcome.text


# ---- Last ----

def test_a_server_that_goes_and_comes_back(s3):
    """The gateway is killed in the middle of an upload, and started again. Last, because Ceph waits
    for the dead one whenever a bucket is made."""
    with Faults(s3.ceph, lambda request: Fault(bytes_per_second=8 * MIB)) as slow:
        process = s3.start("put", "a", s3.file("put", noise(12 * MIB)), part_bytes=5 * MIB,
                           endpoint=slow.endpoint, attempts=20)
        wait_for(lambda: any(is_part(2)(request) for request in list(slow.seen)))
        s3.ceph.kill_gateway()
        s3.ceph.start_gateway()
        outcome = outcome_of(process)
    assert outcome.status == "OK" and outcome.retries > 0
    assert s3.stored("a") == noise(12 * MIB)
