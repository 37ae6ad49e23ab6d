# SPDX-License-Identifier: Apache-2.0
"""An S3 target against a real server over TLS, looked at with clients that are not ours."""
import concurrent.futures
import random
import time

import pytest
from ceph import ACCESS_KEY, REGION, SECRET_KEY
from faults import Faults, error

MIB = 1 << 20
DAY_MS = 24 * 3600 * 1000


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


# ---- What is put arrives ----

@pytest.mark.parametrize("size", [0, 1, 100_000, 5 * MIB])
def test_one_request(s3, size):
    content = noise(size)
    outcome = s3.put("snapshots/0000000001-9.sra", content, part_bytes=5 * MIB)
    assert outcome.status == "OK" and outcome.objects[0].size == size
    assert s3.stored("snapshots/0000000001-9.sra") == content
    got, data = s3.get("snapshots/0000000001-9.sra")
    assert got.status == "OK" and data == content


@pytest.mark.parametrize("piece", [1000, 4 * MIB, 64 * MIB])
def test_parts(s3, piece):
    content = noise(5 * MIB * 2 + 12345)
    outcome = s3.put("big", content, piece, part_bytes=5 * MIB, parts_parallel=2)
    assert outcome.status == "OK" and outcome.sent >= len(content)
    assert s3.stored("big") == content
    assert s3.client.uploads(s3.bucket) == []


def test_independent_client(s3):
    """s3cmd lists and fetches what was put, and what s3cmd puts is read."""
    content = noise(11 * MIB)
    assert s3.put("a/b.sra", content, part_bytes=5 * MIB).status == "OK"
    listed = s3.s3cmd("ls", "--recursive", f"s3://{s3.bucket}/")
    assert f"s3://{s3.bucket}/{s3.key('a/b.sra')}" in listed and str(len(content)) in listed
    s3.s3cmd("get", f"s3://{s3.bucket}/{s3.key('a/b.sra')}", s3.dir / "fetched")
    assert (s3.dir / "fetched").read_bytes() == content
    s3.s3cmd("put", s3.file("other", b"from elsewhere"), f"s3://{s3.bucket}/{s3.key('c')}")
    assert s3.get("c")[1] == b"from elsewhere"


def test_names_that_need_encoding(s3):
    name = "a=b/c_d-e.f=/0"
    assert s3.put(name, b"x").status == "OK"
    assert s3.client.keys(s3.bucket) == [s3.key(name)]
    assert s3.get(name)[1] == b"x" and s3.run("list").names == [name]


def test_a_name_that_is_taken(s3):
    assert s3.put("a", b"one").status == "OK"
    outcome = s3.put("a", b"two")
    assert outcome.status == "EXISTS" and s3.stored("a") == b"one"
    assert s3.put("a", b"two", replace=1).status == "OK" and s3.stored("a") == b"two"


def test_ranges(s3):
    content = noise(300_000)
    s3.put("a", content)
    assert s3.get("a", 1000)[1] == content[1000:]
    assert s3.get("a", 1000, 500)[1] == content[1000:1500]
    assert s3.get("a", 0, 1)[1] == content[:1]
    assert s3.get("a", 299_999, 1)[1] == content[-1:]
    for arguments in ((300_000,), (299_999, 2), (400_000, 1)):
        assert s3.get("a", *arguments)[0].status == "INVALID"
    assert s3.get("b")[0].status == "NOT_FOUND"


def test_lists_in_pages(s3):
    """More than a page of objects (1,000), in order, without those of others."""
    names = [f"{number:05}" for number in range(1010)]

    def put_some(first):
        client = s3.ceph.client()
        for name in names[first::4]:
            assert client.call("PUT", f"/{s3.bucket}/{s3.key('x/' + name)}").status == 200

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(put_some, range(4)))
    s3.client.call("PUT", f"/{s3.bucket}/{s3.key('x/white space')}")
    s3.client.call("PUT", f"/{s3.bucket}/cluster-b/x/1")
    outcome = s3.run("list", "x/")
    assert outcome.status == "OK" and outcome.names == ["x/" + name for name in names]
    assert outcome.requests == 2
    assert s3.run("list", "x/0000").names == [f"x/{number:05}" for number in range(10)]
    assert s3.run("list", "y").names == []


def test_head_and_remove(s3):
    before_ms = time.time() * 1000
    s3.put("a", b"12345")
    head = s3.run("head", "a")
    assert head.objects[0].size == 5
    assert abs(head.objects[0].modified_ms - before_ms) < 60_000
    assert s3.run("remove", "a").status == "OK" and s3.client.keys(s3.bucket) == []
    assert s3.run("head", "a").status == "NOT_FOUND"
    assert s3.run("remove", "a").status == "NOT_FOUND"


def test_settings_of_objects(s3):
    """A storage class that the server has; checksums, which this one does not keep."""
    for name, size in (("small", 1000), ("large", 6 * MIB)):
        outcome = s3.put(name, noise(size), storage_class="STANDARD", checksum_sha256=1,
                         part_bytes=5 * MIB)
        assert outcome.status == "OK" and s3.stored(name) == noise(size)


def test_settings_that_this_server_lacks(s3):
    """Encryption by the server: what is asked for, and that it is signed."""
    wanted = {"x-amz-server-side-encryption": "aws:kms", "x-amz-storage-class": "GLACIER_IR",
              "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-1:1:key/a-b"}
    with Faults(s3.ceph, lambda request: error(501, "NotImplemented")) as faults:
        for size in (1, 6 * MIB):
            s3.put("a", noise(size), endpoint=faults.endpoint, part_bytes=5 * MIB, replace=1, sse=2,
                   sse_kms_key="arn:aws:kms:eu-1:1:key/a-b", storage_class="GLACIER_IR")
    assert [request.method for request in faults.seen] == ["PUT", "POST"]
    for request in faults.seen:
        for name, value in wanted.items():
            assert request.headers[name] == value and name in request.headers["authorization"]


# ---- Locks and versions ----

@pytest.mark.parametrize("mode", [1, 2])
def test_lock(locked, mode):
    until_ms = int(time.time() * 1000) // 1000 * 1000 + DAY_MS
    for name, size in (("small", 1000), ("large", 6 * MIB)):
        outcome = locked.put(name, noise(size), lock=mode, retain_until_ms=until_ms,
                             part_bytes=5 * MIB)
        assert outcome.status == "OK"
        answer = locked.client.call("HEAD", f"/{locked.bucket}/{locked.key(name)}")
        assert answer.headers["x-amz-object-lock-mode"] == (None, "GOVERNANCE", "COMPLIANCE")[mode]
        assert locked.run("head", name).objects[0].retain_until_ms == until_ms
        outcome = locked.run("remove", name)
        assert outcome.status == "REFUSED" and "a lock holds it" in outcome.sentence
        assert locked.stored(name) == noise(size)


def test_all_versions_are_removed(locked):
    for content in (b"1", b"2", b"3"):
        assert locked.put("a", content, replace=1).status == "OK"
    locked.put("a-neighbour", b"x")
    assert locked.run("remove", "a").status == "OK"
    answer = locked.client.call("GET", f"/{locked.bucket}", {"versions": ""})
    assert answer.values("Key") == [locked.key("a-neighbour")]


def test_lock_without_a_bucket_for_it(s3, locked):
    outcome = s3.run("probe", lock=2)
    assert outcome.status == "REFUSED" and "without object lock" in outcome.sentence
    assert locked.run("probe", lock=2).status == "OK"
    outcome = s3.put("a", b"x", retain_until_ms=1)
    assert outcome.status == "INVALID" and s3.client.keys(s3.bucket) == []


# ---- Credentials ----

def test_credentials_of_a_file(s3):
    path = s3.file("credentials", f"""
[default]
aws_access_key_id = nobody
aws_secret_access_key = nothing
[backup]
aws_access_key_id={ACCESS_KEY}
aws_secret_access_key = {SECRET_KEY}
""".encode())
    path.chmod(0o600)
    assert s3.run("probe", environment={}, credentials_file=path,
                  profile="backup").status == "OK"
    assert s3.run("probe", environment={}, credentials_file=path).status == "REFUSED"
    assert s3.run("probe", environment={}, credentials_file=path,
                  profile="other").status == "NOT_FOUND"
    path.chmod(0o640)
    outcome = s3.run("probe", environment={}, credentials_file=path, profile="backup")
    assert outcome.status == "REFUSED" and "chmod 0600" in outcome.sentence


def test_credentials_of_a_command(s3):
    text = (f'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "'
            + SECRET_KEY.replace("/", "\\/") + '", "Expiration": "2099-01-01T00:00:00Z"}')
    path = s3.file("answer", text.encode())
    assert s3.run("probe", environment={},
                  credentials_command=f"cat {path}").status == "OK"
    outcome = s3.run("probe", environment={}, credentials_command=f"cat {path}; exit 3")
    assert outcome.status == "REFUSED" and "exit code 3" in outcome.sentence


def test_credentials_nowhere(s3):
    outcome = s3.run("probe", environment={})
    assert outcome.status == "NOT_FOUND" and "AWS_ACCESS_KEY_ID" in outcome.sentence


@pytest.mark.parametrize("changed", [
    {"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "NOBODYKNOWSTHISONE"}])
def test_wrong_credentials(s3, changed):
    outcome = s3.put("a", b"x", environment={**s3.environment, **changed}, replace=1)
    assert outcome.status == "REFUSED" and outcome.requests == 1


def session_environment(keys):
    return dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), keys))


def test_session_token(s3, role):
    keys = s3.client.assume_role(role)
    environment = session_environment(keys)
    assert s3.put("a", noise(6 * MIB), part_bytes=5 * MIB, environment=environment).status == "OK"
    assert s3.get("a", environment=environment)[1] == noise(6 * MIB)
    for token in (keys[2][:-8] + "AAAAAAAA", None):
        environment["AWS_SESSION_TOKEN"] = token or ""
        outcome = s3.get("a", environment=environment)[0]
        assert outcome.status == "REFUSED", outcome.text
        assert token is None or token not in outcome.text


def test_a_session_that_has_expired(s3, role):
    """Alone it is refused; a command that has a new one by then is asked again."""
    expired = session_environment(s3.ceph.expired_session(role))
    outcome = s3.put("a", b"x", environment=expired)
    assert outcome.status == "REFUSED" and outcome.requests == 1
    assert expired["AWS_SESSION_TOKEN"] not in outcome.text
    good = session_environment(s3.client.assume_role(role))
    for name, keys in (("first", expired), ("second", good)):
        s3.file(name, "\n".join(f"{key.lower()} = {value}" for key, value in keys.items())
                .encode())
    command = f"cd {s3.dir}; test -e used && cat second || {{ touch used; cat first; }}"
    outcome = s3.put("a", b"x", environment={}, credentials_command=command)
    assert outcome.status == "OK" and outcome.retries == 1


# ---- Residency ----

def test_residency(s3):
    allowed = f"eu-west-9,{REGION}"
    assert s3.run("probe", regions_allowed=allowed).status == "OK"
    outcome = s3.run("probe", regions_allowed="eu-west-9")
    assert outcome.status == "REFUSED" and outcome.requests == 0
    outcome = s3.run("probe", regions_allowed=allowed, region="eu-west-9")
    assert outcome.status == "REFUSED" and f"is in region {REGION}" in outcome.sentence


# ---- What is wrong from the beginning ----

def test_probe(s3):
    assert s3.run("probe-writing").status == "OK"
    assert s3.client.keys(s3.bucket) == []
    outcome = s3.run("probe", url="s3://no-such-bucket/x")
    assert outcome.status == "NOT_FOUND" and "no such bucket" in outcome.sentence


def test_a_certificate_of_somebody_else(s3):
    outcome = s3.run("probe", ca_file="/etc/ssl/certs/ca-certificates.crt")
    assert outcome.status == "REFUSED" and "ca_file" in outcome.sentence
    assert outcome.requests == 1


def test_an_upload_that_was_left_is_cleaned(s3):
    for name in ("mine/a", "other/a", "yours"):
        key = s3.key(name) if name != "yours" else name
        answer = s3.client.call("POST", f"/{s3.bucket}/{key}", {"uploads": ""})
        assert answer.status == 200
    assert s3.run("clean", 3600 * 1000).cleaned == 0
    time.sleep(1.1)  # S3 counts in seconds
    assert s3.run("clean", 0, "mine/").cleaned == 1
    assert s3.client.uploads(s3.bucket) == [s3.key("other/a"), "yours"]
    assert s3.run("clean", 0).cleaned == 1
    assert s3.client.uploads(s3.bucket) == ["yours"]


def test_a_quota_that_is_reached(ceph, s3):
    ceph.add_user("small", "SMALLACCESSKEY000001", SECRET_KEY)
    ceph.set_quota("small", 1 * MIB)
    client = ceph.client("SMALLACCESSKEY000001")
    client.make_bucket("small")
    environment = {**s3.environment, "AWS_ACCESS_KEY_ID": "SMALLACCESSKEY000001"}
    outcome = s3.put("a", noise(11 * MIB), url="s3://small/x", environment=environment,
                     part_bytes=5 * MIB)
    assert outcome.status == "NO_SPACE", outcome.text
    assert client.uploads("small") == [] and client.keys("small") == []
