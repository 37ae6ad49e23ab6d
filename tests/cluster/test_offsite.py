# SPDX-License-Identifier: Apache-2.0
"""What a cluster ships to a directory, by itself: on a schedule, whoever is killed meanwhile."""

import json
import os
import subprocess
import time
import urllib.request

import pytest
from cluster import STRONGROOM, Cluster, wait_for
from faults import CLOCK_SHIFT

DAY_MS = 86400000
SLOT_MS = DAY_MS // 5  # by default


class Shipping:
    """A cluster of three that ships to a directory."""

    def __init__(self, path, **section):
        self.target = path / "target"
        self.target.mkdir()
        self.cluster = Cluster(path, 3)
        public = path / "recovery.pub"
        subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", public], check=True,
                       capture_output=True)
        self.section = {"recovery_keys": [public], "spread_ms": 0, "changes_every_ms": 500,
                        "claim_timeout_ms": 2000, **section,
                        "targets": [{"name": "far", "url": f"file://{self.target}",
                                     "region": "elsewhere", **section.get("target", {})}]}
        self.section.pop("target", None)
        self.configure()

    def configure(self):
        for node in self.cluster.nodes:
            node.offsite = self.section
            node.write_config()

    @property
    def nodes(self):  # for the logs of a failed test
        return self.cluster.nodes

    def command(self, *words, **options):
        return json.loads(self.cluster.strongroom("snapshot", *words, "--json", **options).stdout)

    def running(self):
        return [node for node in self.cluster.nodes if node.process is not None]

    def list(self):
        return self.command("list", nodes=self.running())

    def status(self, node=None):
        status = self.command("status", nodes=[node] if node else self.running())
        return status["targets"][0]

    def objects(self, kind):
        """Names of the archives of a kind that have a manifest, and of all that have none."""
        names = {path.name for path in self.target.glob(f"*/{kind}/*")}
        whole = {name[:-4] for name in names if name.endswith(".srm")}
        archives = {name[:-4] for name in names if name.endswith(".sra")}
        assert whole <= archives
        return sorted(whole), sorted(archives - whole)

    def wait_snapshots(self, count):
        return wait_for(lambda: len(found := self.list()) >= count and found,
                        f"{count} snapshots", timeout=120)

    def member(self, node):
        return self.cluster.members(nodes=self.running())["members"][node.name]["id"]

    def page(self, node, path):
        url = f"http://127.0.0.1:{node.admin_port}/{path}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.read().decode()


@pytest.fixture
def shipping(tmp_path):
    made = []

    def make(**section):
        made.append(Shipping(tmp_path, **section))
        return made[-1]

    yield make
    for each in made:
        each.cluster.close()


def shift_clocks(shipping, shift_ms):
    path = shipping.cluster.dir / "clock"
    path.touch()
    with open(path, "r+b") as file:  # nodes that run have it before their eyes
        file.write((shift_ms * 1000000).to_bytes(8, "little", signed=True))
    for node in shipping.cluster.nodes:
        node.environment = {"LD_PRELOAD": str(CLOCK_SHIFT), "STRONGROOM_CLOCK_SHIFT": str(path)}


def kill_the_shipper(there):
    """As soon as somebody ships; the sequence that it had, or None if it was done by then."""
    ids = {there.member(node): node for node in there.cluster.nodes}
    claim = wait_for(lambda: (status := there.status()["snapshots"]).get("claimed_by") and status,
                     "somebody to ship", timeout=120)
    node, sequence = ids[claim["claimed_by"]], claim["claimed_sequence"]
    before = {one["sequence"] for one in there.list()}
    node.kill()
    found = there.wait_snapshots(len(before) + (sequence not in before))
    node.start()
    there.cluster.wait_ready()
    if any(one["sequence"] == sequence for one in found):
        return None
    assert ids[found[-1]["member"]] is not node  # somebody else made it
    assert found[-1]["sequence"] > sequence
    return sequence


def test_a_day_and_the_shipper_killed_during_three(shipping):
    """Five a day, as they are by default; the wall clocks go from one to the next."""
    # A second or two each, so that there is a time to be killed in.
    there = shipping(target={"bytes_per_second": 400000})
    cluster = there.cluster
    start_ms = (SLOT_MS // 2 - int(time.time() * 1000)) % SLOT_MS  # far from the next one
    shift_clocks(there, start_ms)
    cluster.start()
    for i in range(12):
        cluster.put(f"record-{i}", os.urandom(60000).hex())
    there.wait_snapshots(1)
    killed, slots = [], 0
    while len(killed) < 3 or slots < 5:
        slots += 1
        made = len(there.list())
        shift_clocks(there, start_ms + slots * SLOT_MS)
        if len(killed) < 3:
            sequence = kill_the_shipper(there)
            killed += [sequence] if sequence is not None else []
        found = there.wait_snapshots(made + 1)
        assert len(found) == made + 1  # one for each slot
    assert len({one["begun_ms"] // SLOT_MS for one in found}) == slots + 1
    assert len({one["sequence"] for one in found}) == len(found)
    assert [one["revision"] for one in found] == sorted(one["revision"] for one in found)
    listed = {one["sequence"] for one in found}
    assert not listed & set(killed)
    wait_for(lambda: {int(name.split("-")[0]) for name in there.objects("snapshots")[0]} == listed,
             "what the killed ones left to be gone")


def test_missed_ones_are_made_up(shipping):
    there = shipping(every_ms=DAY_MS)
    cluster = there.cluster
    shift_clocks(there, 0)
    cluster.start()
    first = there.wait_snapshots(1)
    for node in cluster.nodes:
        node.kill()
    shift_clocks(there, 3 * DAY_MS)  # nobody was there for three days
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    found = there.wait_snapshots(2)
    assert found[-1]["begun_ms"] - first[0]["begun_ms"] > 2 * DAY_MS
    assert len(there.list()) == 2  # one makes up for all three


def test_changes_follow_and_are_told_of(shipping):
    there = shipping(every_ms=DAY_MS)
    cluster = there.cluster
    cluster.start()
    there.wait_snapshots(1)
    for i in range(50):
        cluster.put(f"planted-name-{i}", "planted-value")
    revision = cluster.nodes[0].status().header.revision

    def is_there():
        status = there.status(cluster.nodes[0])
        return status["changes"].get("revision") == revision and status["lag_revisions"] == 0

    wait_for(is_there, "all changes to be shipped")
    whole, unfinished = there.objects("changes")
    assert whole and not unfinished
    for path in there.target.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"planted" not in data and b"first" not in data
    for node in cluster.nodes:
        def told(node=node):
            return json.loads(there.page(node, "status"))["offsite"]["targets"][0]

        assert told()["name"] == "far" and told()["count"] == 1
        wait_for(lambda: told()["unproven"] == 0, "a drill to restore it")
        metrics = there.page(node, "metrics")
        assert 'strongroom_offsite_snapshots{target="far",kind="snapshot"} 1\n' in metrics
        assert 'strongroom_offsite_lag_revisions{target="far",kind="changes"} ' in metrics
        assert 'strongroom_offsite_failures_total{target="far",kind="snapshot",reason="network"} 0' \
            in metrics
    status = cluster.strongroom("snapshot", "status").stdout
    assert "signed by: SHA256:" in status and "behind: 0 revisions, 0.0 s" in status


def test_now(shipping):
    there = shipping(every_ms=DAY_MS)
    cluster = there.cluster
    cluster.start()
    there.wait_snapshots(1)
    for node in cluster.nodes:  # whoever is asked, the leader too
        made = len(there.list())
        said = cluster.strongroom("snapshot", "now", "--for", "120", nodes=[node]).stdout
        found = there.list()
        assert len(found) == made + 1
        assert said == f"far: snapshot {found[-1]['sequence']}, " \
                       f"revision {found[-1]['revision']}\n"


def test_a_target_that_fails_is_told_of_and_made_up_for(shipping):
    there = shipping(every_ms=DAY_MS)
    cluster = there.cluster
    away = there.target.with_name("away")
    cluster.start()
    there.wait_snapshots(1)
    there.target.rename(away)
    asked = cluster.strongroom("snapshot", "now", "--for", "2", check=False)
    assert asked.returncode == 1
    failure = wait_for(lambda: there.status()["snapshots"].get("failure"), "the failure to be told")
    assert str(there.target) in failure
    away.rename(there.target)
    there.wait_snapshots(2)
    assert there.status()["snapshots"]["failure"] == ""


def test_what_need_not_be_kept_goes(shipping):
    there = shipping(every_ms=DAY_MS, retention={"last": 2, "daily": 0, "monthly": 0, "yearly": 0})
    cluster = there.cluster
    cluster.start()
    there.wait_snapshots(1)
    for _ in range(3):
        cluster.strongroom("snapshot", "now")
    wait_for(lambda: len(there.list()) == 2, "two snapshots to be left")
    listed = [one["sequence"] for one in there.list()]

    def are_gone():
        whole, unfinished = there.objects("snapshots")
        return [int(name.split("-")[0]) for name in whole] == listed and not unfinished

    wait_for(are_gone, "the others to be gone from the target")


def test_a_target_that_is_no_more_is_forgotten(shipping):
    there = shipping(every_ms=DAY_MS)
    cluster = there.cluster

    def forget(target):
        return cluster.strongroom("snapshot", "forget", target, check=False)

    cluster.start()
    there.wait_snapshots(1)
    assert "has none of that name" in forget("near").stderr
    assert "has far still" in forget("far").stderr
    for node in cluster.nodes:
        assert node.stop() == 0
    there.section["targets"][0]["name"] = "new"
    there.configure()
    cluster.start()
    wait_for(lambda: {one["target"] for one in there.list()} == {"far", "new"}, "both to be known")
    wait_for(lambda: forget("far").returncode == 0, "far to be forgotten")
    assert {one["target"] for one in there.list()} == {"new"}
    assert len(there.objects("snapshots")[0]) == 2  # what lies there stays


def test_a_target_in_another_region_is_refused(shipping):
    there = shipping(every_ms=DAY_MS, regions_allowed=["here"])
    refused = there.cluster.nodes[0].run_once()
    assert refused.returncode == 2
    assert 'offsite.targets[0].region: "elsewhere" is none of offsite.regions_allowed' \
        in refused.stderr
