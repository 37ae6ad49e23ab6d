# SPDX-License-Identifier: Apache-2.0
"""What a cluster ships is fetched back, restored and compared, by itself and by a machine elsewhere;
and what somebody has harmed on the way is found."""

import json
import re
import subprocess

import pytest
from cluster import ROOT, STRONGROOM, wait_for
from test_offsite import DAY_MS, Shipping


class Drilling(Shipping):
    """With a recovery key whose private half is at hand."""

    def __init__(self, path, **section):
        super().__init__(path, **section)
        public = path / "elsewhere.pub"
        made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", public], check=True,
                              capture_output=True, text=True)
        self.private = path / "elsewhere.key"
        self.private.touch(mode=0o600)
        self.private.write_text("".join(line + "\n" for line in made.stdout.splitlines()
                                        if line.startswith("strongroom-recovery-private-1 ")))
        self.section["recovery_keys"].append(public)
        self.work = path / "work"
        self.work.mkdir()
        self.configure()

    def drill(self, *words, code=0):
        done = subprocess.run([STRONGROOM, "drill", "--from", f"file://{self.target}",
                               "--recovery-key", self.private, "--work", self.work, *words],
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert not list(self.work.iterdir())  # nothing is left behind
        return done

    def wait_drilled(self):
        """The newest snapshot, once a drill has looked at it."""
        return wait_for(lambda: (found := self.list()) and found[-1]["drilled_ms"] and found[-1],
                        "a drill of the newest snapshot", timeout=120)

    def told(self, node):
        return json.loads(self.page(node, "status"))["offsite"]["targets"][0]

    def flip(self):
        """One bit of the newest snapshot."""
        whole, _ = self.objects("snapshots")
        path = next(self.target.glob(f"*/snapshots/{whole[-1]}.sra"))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.chmod(0o600)
        path.write_bytes(data)


@pytest.fixture
def drilling(tmp_path):
    made = []

    def make(**section):
        made.append(Drilling(tmp_path, every_ms=DAY_MS, **section))
        return made[-1]

    yield make
    for each in made:
        each.cluster.close()


def check_alerts(metrics):
    """Whatever deploy/alerts.yaml asks for is there: a metric, and each value of a label."""
    text = (ROOT / "deploy" / "alerts.yaml").read_text()
    asked = set(re.findall(r"(strongroom_\w+)(?:\{([^}]*)\})?", "\n".join(
        re.findall(r"^ +expr: (.*)$", text, re.MULTILINE))))
    assert len({name for name, _ in asked}) > 5
    for name, labels in asked:
        samples = re.findall(rf"^{name}(?:\{{(.*)\}})? ", metrics, re.MULTILINE)
        assert samples, f"no metric {name}"
        for label, how, values in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', labels):
            for value in values.split("|") if how == "=~" else [values]:
                assert any(f'{label}="{value}"' in sample for sample in samples), \
                    f'{name}: no {label}="{value}"'


def test_each_snapshot_is_restored_and_that_is_told(drilling):
    there = drilling()
    cluster = there.cluster
    cluster.start()
    for i in range(20):
        cluster.put(f"planted-name-{i}", "planted-value" * 200)
    there.wait_snapshots(1)
    cluster.strongroom("snapshot", "now")
    first = there.wait_drilled()
    assert first["proven"] and first["drill_failure"] == ""
    assert len(list(there.target.glob(f"*/proofs/{first['sequence']:010}.srp"))) == 1
    assert f"drill: snapshot {first['sequence']} was restored 20" \
        in cluster.strongroom("snapshot", "status").stdout
    for node in cluster.nodes:  # it is in the record: all of them tell
        wait_for(lambda node=node: there.told(node)["drill"].get("sequence") == first["sequence"],
                 "the result to be told by all")
        told = there.told(node)
        assert told["drill"]["good"] and told["last_proven_restore_ms"] == first["drilled_ms"]
        metrics = there.page(node, "metrics")
        assert 'strongroom_offsite_last_drill_good{target="far"} 1\n' in metrics
        assert 'strongroom_offsite_drill_failures_total{target="far",reason="bad"} 0\n' in metrics
        check_alerts(metrics)
    wait_for(lambda: all(not (node.data_dir / "drill").exists() for node in cluster.nodes),
             "what was restored to be gone")
    cluster.strongroom("snapshot", "now")  # and the next one
    second = there.wait_drilled()
    assert second["proven"] and second["sequence"] > first["sequence"]


def test_a_flipped_bit_is_found_and_published(drilling):
    there = drilling(drill=False)
    cluster = there.cluster
    cluster.start()
    there.wait_snapshots(1)
    there.flip()
    there.section["drill"] = True  # so that it was harmed before anybody looked
    there.configure()
    for node in cluster.nodes:
        node.stop()
        node.start()
        cluster.wait_ready()
    bad = there.wait_drilled()
    assert not bad["proven"] and "edited" in bad["drill_failure"]
    assert f"snapshot {bad['sequence']} COULD NOT BE RESTORED" \
        in cluster.strongroom("snapshot", "status").stdout
    node = cluster.nodes[0]
    wait_for(lambda: 'strongroom_offsite_last_drill_good{target="far"} 0\n'
             in there.page(node, "metrics"), "the metric that wakes somebody up")
    assert not there.told(node)["drill"]["good"]
    cluster.strongroom("snapshot", "now")
    good = wait_for(lambda: (found := there.list()[-1])["proven"] and found, "a good one",
                    timeout=120)
    assert good["sequence"] > bad["sequence"]


def test_a_machine_with_nothing_but_the_recovery_key(drilling):
    there = drilling(drill=False, claim_timeout_ms=1000)
    cluster = there.cluster
    cluster.start()
    there.wait_snapshots(1)
    for i in range(10):
        cluster.put(f"record-{i}", "value")
    revision = cluster.nodes[0].status().header.revision
    wait_for(lambda: there.status()["changes"].get("revision") == revision, "all to be shipped")
    said = there.drill("--no-proof").stdout
    assert f"up to revision {revision}\n" in said and "as was signed" in said
    assert not list(there.target.glob("*/proofs/*"))
    fingerprint = there.command("status", nodes=there.running())["fingerprint"]
    assert f"signed by      {fingerprint}\n" in there.drill("--signed-by", fingerprint).stdout
    proven = there.wait_drilled()  # the cluster took it over
    assert proven["proven"]

    there.flip()
    refused = there.drill(code=1)
    assert "IT CANNOT BE RESTORED: edited" in refused.stderr
    bad = wait_for(lambda: not (found := there.list()[-1])["proven"] and found,
                   "the cluster to take that over", timeout=120)
    assert "edited" in bad["drill_failure"]


def test_what_cannot_be_looked_at_is_no_result(drilling):
    there = drilling(drill=False)
    there.cluster.start()
    there.wait_snapshots(1)
    stranger = there.drill("--signed-by", "SHA256:" + "0" * 64, code=1)
    assert "foreign" in stranger.stderr
    made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", there.work / "other.pub"],
                          check=True, capture_output=True, text=True)
    (there.work / "other.pub").unlink()
    own = there.private.read_text()
    there.private.write_text("".join(line + "\n" for line in made.stdout.splitlines()
                                     if line.startswith("strongroom-recovery-private-1 ")))
    wrong = there.drill(code=1).stderr  # the key is wrong, not the snapshot
    assert "sealed for" in wrong and "CANNOT BE RESTORED" not in wrong
    there.private.write_text(own)
    there.target.rename(there.target.with_name("away"))
    assert "No such file or directory" in there.drill(code=1).stderr
    there.target.with_name("away").rename(there.target)
    assert not list(there.target.glob("*/proofs/*"))
    assert there.list()[-1]["drilled_ms"] == 0
