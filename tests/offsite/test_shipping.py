# SPDX-License-Identifier: Apache-2.0
"""A node that ships to a real S3 server, on its bad days: it goes on serving, says what is wrong,
and makes up for it by itself. What need not be kept goes, in order, and never what is locked."""
import itertools
import json
import random
import subprocess
import urllib.request

import pytest
from ceph import REGION, SECRET_KEY
from cluster import STRONGROOM, Cluster, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from faults import Fault, Faults, error

ACCESS_KEY = "NODETESTACCESSKEY001"
DAY_MS = 24 * 3600 * 1000
MIB = 1 << 20


class Shipping:
    """One node with two targets: "far" through a network that the test owns, and "vault", where
    everything is locked."""

    def __init__(self, ceph, path):
        self.ceph, self.path = ceph, path
        self.faults = Faults(ceph)
        self.numbers = itertools.count(1)
        ceph.add_user("node", ACCESS_KEY, SECRET_KEY)
        self.client = ceph.client(ACCESS_KEY)
        self.client.make_bucket("far")
        self.client.make_bucket("vault", lock=True)
        self.credentials = path / "credentials"
        self.write_credentials()
        self.cluster = Cluster(path, 1)
        self.node = self.cluster.nodes[0]
        subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", path / "recovery.pub"],
                       check=True, capture_output=True)
        self.configure()
        self.cluster.start()
        wait_for(lambda: self.shipped() and self.shipped("vault"), "the first snapshots")

    def configure(self):
        common = {"region": REGION, "ca_file": self.ceph.ca, "credentials_file": self.credentials,
                  "part_bytes": 5 * MIB}
        self.node.offsite = {
            "recovery_keys": [self.path / "recovery.pub"], "every_ms": DAY_MS, "spread_ms": 0,
            "changes_every_ms": 200, "claim_timeout_ms": 2000,
            "retention": {"last": 1, "daily": 0, "monthly": 0, "yearly": 0},
            "targets": [
                {"name": "far", "url": "s3://far/db", "endpoint": self.faults.endpoint, **common,
                 "attempts": 2},
                {"name": "vault", "url": "s3://vault/db", "endpoint": self.ceph.endpoint, **common,
                 "lock": "governance", "lock_days": 1}]}
        self.node.write_config()

    def close(self):
        self.cluster.close()
        self.faults.close()

    @property
    def nodes(self):  # for the log of a failed test
        return self.cluster.nodes

    def write_credentials(self, access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=None):
        self.credentials.touch(0o600)
        self.credentials.write_text(
            f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
            + (f"aws_session_token = {token}\n" if token else ""))

    def restart(self):
        self.node.kill()
        self.node.start()
        self.cluster.wait_ready()

    # ---- What it does, and says ----

    def serves(self):
        """Writes and reads; there is something to be shipped then."""
        value = str(next(self.numbers))
        self.cluster.put("key", value)
        assert self.cluster.get("key") == value

    def command(self, *words):
        return json.loads(self.cluster.strongroom("snapshot", *words, "--json").stdout)

    def status(self, target="far"):
        return next(one for one in self.command("status")["targets"] if one["name"] == target)

    def catalogue(self, target="far"):
        return [one["sequence"] for one in self.command("list") if one["target"] == target]

    def shipped(self, target="far"):
        """Everything that was written."""
        status = self.status(target)
        return self.catalogue(target) and status["lag_revisions"] == 0

    def failures(self, reason, kind="changes"):
        url = f"http://127.0.0.1:{self.node.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=20) as answer:
            page = answer.read().decode()
        labels = f'{{target="far",kind="{kind}",reason="{reason}"}} '
        line = next(line for line in page.splitlines()
                    if line.startswith("strongroom_offsite_failures_total" + labels))
        return float(line.rpartition(" ")[2])

    def objects(self, bucket):
        """Names of the objects of snapshots."""
        return [key.rpartition("/")[2] for key in self.client.keys(bucket) if "/snapshots/" in key]


@pytest.fixture(scope="module")
def shipping(ceph, tmp_path_factory):
    shipping = Shipping(ceph, tmp_path_factory.mktemp("shipping"))
    try:
        yield shipping
    finally:
        shipping.close()


@pytest.fixture
def ship(shipping):
    yield shipping
    shipping.faults.plan = lambda request: None
    print(shipping.node.log()[-4000:])  # shown with a failure


def survives(ship, reason, harm, cure):
    harm()
    before = ship.failures(reason)
    ship.serves()
    wait_for(lambda: ship.failures(reason) > before, f"failures by {reason}")
    assert "s3://far/db" in ship.status()["changes"]["failure"]
    ship.serves()
    wait_for(lambda: ship.shipped("vault"), "the other target to have everything")
    assert not ship.shipped()
    cure()
    wait_for(ship.shipped, "all to be shipped")
    assert ship.status()["changes"]["failure"] == ""
    assert SECRET_KEY not in ship.node.log()


# ---- Bad days ----

@pytest.mark.parametrize("reason,fault", [
    ("overloaded", error(500, "InternalError")),
    ("overloaded", error(503, "SlowDown", Retry_After=1)),
    ("refused", error(403, "AccessDenied")),
    ("network", Fault(cut_request_at=100))])
def test_a_bad_day(ship, reason, fault):
    def plan(request):
        return fault if request.method == "PUT" else None

    def harm():
        ship.faults.plan = plan

    def cure():
        ship.faults.plan = lambda request: None
    survives(ship, reason, harm, cure)


def test_the_server_is_gone(ship):
    def cure():
        ship.faults = Faults(ship.ceph, port=ship.faults.port)
    survives(ship, "network", lambda: ship.faults.close(), cure)


def test_the_target_is_full(ship):
    def harm():
        ship.ceph.set_quota("node", 1)

    def cure():
        ship.ceph.set_quota("node", 0)
    before = ship.failures("full")
    harm()
    try:
        ship.serves()
        wait_for(lambda: ship.failures("full") > before, "failures by full")
        ship.serves()
    finally:
        cure()
    wait_for(ship.shipped, "all to be shipped")


def test_wrong_credentials_and_an_expired_session(ship, role):
    """They are mended in their file: the node reads it again by itself."""
    expired = ship.ceph.expired_session(role)
    for wrong in ((ACCESS_KEY, "another/secret+key0123456789abcdefghijkl"), expired):
        ship.write_credentials(*wrong)
        ship.restart()
        ship.serves()
        wait_for(lambda: ship.failures("refused") > 0, "failures by refused")
        ship.serves()
        assert not ship.shipped()
        ship.write_credentials()
        wait_for(ship.shipped, "all to be shipped")
        assert not any(secret in ship.node.log() for secret in wrong[1:])


def test_a_snapshot_that_is_cut(ship):
    """At random bytes of its parts, more often than is tried again."""
    chance = random.Random(5)
    with ship.node.channel() as channel:
        for i in range(7):
            rpc_pb2_grpc.KVStub(channel).Put(rpc_pb2.PutRequest(
                key=f"large-{i}".encode(), value=chance.randbytes(1_000_000)), timeout=20)
    left = [chance.randrange(1, 5 * MIB) for _ in range(4)]

    def plan(request):
        if "/snapshots/" in request.path and "partNumber=" in request.query and left:
            return Fault(cut_request_at=left.pop() % request.size)
        return None
    before = ship.failures("network", "snapshot")
    ship.faults.plan = plan
    made = ship.catalogue()
    ship.cluster.strongroom("snapshot", "now", "--for", "50")
    assert not left and ship.catalogue()[-1] > made[-1]
    assert ship.failures("network", "snapshot") > before
    assert ship.client.uploads("far") == []


# ---- What need not be kept ----

def sequences(names):
    return sorted({int(name.partition("-")[0]) for name in names})


def newest_is_proven(ship):
    return next(one for one in reversed(ship.command("list")) if one["target"] == "far")["proven"]


def wait_pruned(ship):
    """Make one. The one before it was the last that a drill had restored: both are left."""
    wait_for(lambda: newest_is_proven(ship), "a drill of the one before")
    before = ship.catalogue()[-1]
    ship.cluster.strongroom("snapshot", "now", "--for", "50")

    def two_are_left():
        kept = ship.catalogue()
        return len(kept) == 2 and kept[0] == before and sequences(ship.objects("far")) == kept
    wait_for(two_are_left, "the others to be gone")


def test_what_need_not_be_kept_goes(ship):
    wait_pruned(ship)
    ship.faults.seen.clear()
    wait_pruned(ship)
    gone = [request.path.rpartition("/")[2] for request in ship.faults.seen
            if request.method == "DELETE" and "/snapshots/" in request.path]
    assert [name[-4:] for name in gone] == [".srm", ".sra"]
    assert gone[0][:-4] == gone[1][:-4]
    locked = ship.catalogue("vault")  # each of them is there, and known
    assert len(locked) >= 3
    assert set(locked) <= set(sequences(ship.objects("vault")))


def test_an_archive_never_goes_before_its_manifest(ship):
    """The target lets us remove archives, but not manifests, for a while."""
    wait_pruned(ship)
    old, _ = ship.catalogue()
    wait_for(lambda: newest_is_proven(ship), "a drill of the newest")

    def plan(request):
        return error(403, "AccessDenied") \
            if request.method == "DELETE" and request.path.endswith(".srm") else None
    ship.faults.plan = plan
    ship.faults.seen.clear()
    ship.cluster.strongroom("snapshot", "now", "--for", "50")
    wait_for(lambda: any(map(plan, list(ship.faults.seen))), "a manifest to be removed")
    ship.faults.plan = lambda request: None
    assert old not in ship.catalogue()
    assert [name[-4:] for name in ship.objects("far") if sequences([name]) == [old]] \
        == [".sra", ".srm"]
    wait_pruned(ship)
