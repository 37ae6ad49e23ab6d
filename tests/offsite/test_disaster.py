# SPDX-License-Identifier: Apache-2.0
"""Three zones are lost at once, while clients write: what was shipped to a bucket and a recovery key
make a cluster again, by the runbook."""
import datetime
import re
import subprocess
import time

import grpc
import pytest
from ceph import REGION
from cluster import PATIENCE_S, STRONGROOM, Cluster
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from fleet import Fleet, Journal, records_of
from runbook import Runbook

BUMP = 1_000_000_000


class Ruins:
    """What is left: the fleet's bucket, its recovery key, and what its clients were promised."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.spare_key = fleet.secret("spare.key", fleet.recovery_key.read_text())
        fleet.start()
        nodes = fleet.cluster.nodes
        with Journal(nodes) as early:
            early.wait_more(150)
        self.quiet_revision = max(early.promised)[0]
        fleet.wait_shipped(self.quiet_revision)
        self.quiet_time = datetime.datetime.now(datetime.timezone.utc)
        self.journal = Journal(nodes)
        self.journal.promised = early.promised
        with self.journal as journal:
            self.middle_revision = journal.wait_more(100)
            fleet.cluster.strongroom("snapshot", "now")
            self.stated_revision = fleet.wait_shipped(journal.wait_more(100))
            journal.wait_more(20)
            fleet.destroy()
            self.end = time.monotonic()
            journal.join()
        self.last_revision = max(journal.promised)[0]
        self.objects = fleet.objects()
        self.cluster_id, = {self.part(name, 0) for name in self.objects}
        self.manifests = [content for name, content in sorted(
            self.objects.items(), key=lambda one: self.part(one[0], 2))
            if name.endswith(".srm")]

    def part(self, name, number):
        """0: cluster, 1: kind, 2: file."""
        return name.split("/")[-3:][number]


@pytest.fixture(scope="module")
def ruins(new_s3, tmp_path_factory):
    path = tmp_path_factory.mktemp("ruins")
    fleet = Fleet(new_s3(path), path)
    try:
        yield Ruins(fleet)
    finally:
        fleet.cluster.close()


def number_in(pattern, text):
    return int(re.search(pattern, text).group(1))


def read_as_of(node, revision):
    """What a client is told that remembers this revision."""
    with node.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"k/0/1", revision=revision),
                                           timeout=20)
    return refused.value.details()


def join(cluster, node, first):
    """The lost one's machine: empty, with a configuration that says whom to ask."""
    token = node.dir / "token"
    node.join = {"peers": [first.peer_address], "token_file": token}
    node.write_config()
    Runbook(cluster, "add-a-node", node, NAME=node.name, ZONE=node.zone,
            PEER_ADDRESS=node.peer_address, CLIENT_URL=node.endpoint, CONFIG=node.config_path,
            TOKEN_FILE=token).run()
    cluster.nodes.append(node)


def by_hand(ruins, command, *options):
    """Beside everything else, by somebody with the key, credentials and no old configuration."""
    ceph = ruins.fleet.s3.ceph
    done = subprocess.run(
        [STRONGROOM, command, "--from", ruins.fleet.s3.url, "--endpoint", ceph.endpoint,
         "--region", REGION, "--ca-file", ceph.ca,
         "--credentials-file", ruins.fleet.path / "credentials",
         "--recovery-key", ruins.spare_key, "--cluster", ruins.cluster_id, *options],
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def restore_at(ruins, node, place, at):
    said = by_hand(ruins, "restore", "--config", node.config_path, "--to", place, "--at", str(at))
    node.data_dir = place
    node.write_config()
    node.start()
    node.cluster.wait_ready()
    return number_in(r"revision (\d+), written at", said)


def test_the_runbook(ruins, record_property):
    fleet, journal, cluster = ruins.fleet, ruins.journal, ruins.fleet.cluster
    first, *others = cluster.nodes
    cluster.nodes = [first]

    def look(number):
        if number == 4:
            assert first.data_dir.exists()
        if number == 6:  # it serves
            found_at, records = records_of(first)
            restored = number_in(r"revision (\d+), written at", book.output)
            assert found_at == restored + BUMP
            journal.compare(restored, records)
            for node in others:
                join(cluster, node, first)

    book = Runbook(cluster, "disaster", first, CONFIG=first.config_path, FROM=fleet.s3.url,
                   RECOVERY_KEY=fleet.recovery_key, NAME=first.name)
    book.run(look)
    assert not fleet.recovery_key.exists()

    # What had been told to be shipped is there, and the state is the one that was signed.
    restored = number_in(r"revision (\d+), written at", book.output)
    assert number_in(r"up to +revision (\d+)", book.output) == restored
    assert ruins.stated_revision <= restored
    state_hash = re.search(r"state hash +([0-9a-f]{64}), as the manifest says", book.output)
    assert any(bytes.fromhex(state_hash.group(1)) in manifest for manifest in ruins.manifests)
    lost = [entry for entry in journal.promised if entry[0] > restored]
    age = ruins.end - min((journal.heard[entry[0]] for entry in lost), default=ruins.end)
    record_property("figures", f"{len(journal.promised)} writes promised, the last {len(lost)} lost, "
                               f"the first of these {age:.1f} s before the end")

    # Nobody takes a revision of before for one of now.
    for revision in (1, restored, restored + 1, max(restored + 1, ruins.last_revision)):
        assert "has been compacted" in read_as_of(first, revision)
    cluster.put("after", "1")
    assert records_of(first)[0] > restored + BUMP

    # It is a cluster as any; what was shipped before is as it was.
    for node in cluster.nodes:
        journal.compare(restored, records_of(node)[1])
    first.kill()
    cluster.put("without-the-first", "1", nodes=others)
    assert cluster.get("after", nodes=others) == "1"
    now = fleet.objects()
    assert {name: now.get(name) for name in ruins.objects} == ruins.objects
    assert any(ruins.part(name, 0) != ruins.cluster_id and ruins.part(name, 1) == "snapshots"
               for name in now)


def test_to_stop_earlier(ruins, tmp_path):
    """At a revision that the newest snapshot is beyond; at a time when nobody wrote."""
    apart = Cluster(tmp_path, 1)
    node = apart.nodes[0]
    try:
        when = ruins.quiet_time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        for at, revision in ((ruins.middle_revision, ruins.middle_revision),
                             (when, ruins.quiet_revision)):
            assert restore_at(ruins, node, tmp_path / f"data-{revision}", at) == revision
            found_at, records = records_of(node)
            assert found_at == revision + BUMP
            ruins.journal.compare(revision, records)
            node.kill()
    finally:
        apart.close()


def test_all_of_it_is_as_it_was_signed(ruins):
    """Also by somebody else's tool: there are as many objects as are said to be good."""
    said = by_hand(ruins, "verify")
    kinds = [ruins.part(name, 1) for name in ruins.objects if name.endswith(".sra")]
    assert number_in(r"good +(\d+) snapshots", said) == kinds.count("snapshots") > 0
    assert number_in(r"changes in (\d+) pieces: ", said) == kinds.count("changes") > 0


def test_the_journal_sees_what_is_wrong():
    journal = Journal([])
    journal.promised = [(2, b"a", b"1"), (3, b"b", b"2"), (4, b"a", b"3"), (5, b"b", None)]
    journal.in_doubt = [(b"a", b"9")]
    journal.compare(4, {b"a": (4, b"3"), b"b": (3, b"2")})
    journal.compare(5, {b"a": (4, b"3")})
    journal.compare(5, {b"a": (6, b"9")})
    for revision, records in ((4, {b"a": (4, b"3")}),  # lost
                              (4, {b"a": (2, b"1"), b"b": (3, b"2")}),  # of before
                              (4, {b"a": (4, b"1"), b"b": (3, b"2")}),  # another one
                              (4, {b"a": (5, b"3"), b"b": (3, b"2")}),  # at another revision
                              (5, {b"a": (4, b"3"), b"b": (3, b"2")}),  # deleted
                              (5, {b"a": (4, b"3"), b"c": (6, b"1")})):  # nobody wrote it
        with pytest.raises(AssertionError, match="promised"):
            journal.compare(revision, records)
