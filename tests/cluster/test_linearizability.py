# SPDX-License-Identifier: Apache-2.0
"""A concurrent workload while everything goes wrong, judged for linearizability.

  STRONGROOM_CHAOS_MINUTES=N   how long, instead of 45 seconds (an hour with --soak)
  STRONGROOM_SEED=N            the same faults in the same order

The history of a run that fails is kept in build/histories.
"""

import os
import random
import time

import faults
import pytest
from cluster import ROOT, Cluster
from linearizability.check import check
from linearizability.history import History
from network import Network, why_not
from recorded import RecordedLoad
from test_failures import wait_equal

SOAK = os.environ.get("STRONGROOM_SOAK")
MINUTES = float(os.environ.get("STRONGROOM_CHAOS_MINUTES") or (60 if SOAK else 0.75))
ROUND_S = 180  # a history is judged this often
STOPPED_S = 5

ALL_FAULTS = [*faults.PROCESS_FAULTS, *faults.NETWORK_FAULTS, faults.jump_clocks,
              faults.fill_disk, faults.move_leader, faults.add_member, faults.leave_behind]
SMALL = {"memtable_entries": 2000, "unindexed_entries": 4000, "log_segment_bytes": 256 << 10,
         "log_keep_bytes": 0}

no_network = why_not()
needs_network = pytest.mark.skipif(no_network is not None,
                                   reason=f"NO NETWORK NAMESPACES HERE: {no_network}")


def seed_of_run():
    seed = int(os.environ.get("STRONGROOM_SEED", random.randrange(1 << 32)))
    print(f"STRONGROOM_SEED={seed}")
    return seed


class Place:
    """A cluster on a network of its own, with clocks and disks that can be hurt."""

    def __init__(self, directory, zones):
        self.network = Network(zones)
        self.disks = None
        try:
            self.cluster = Cluster(directory, zones=zones, network=self.network, storage=SMALL)
            faults.give_clocks(self.cluster)
            self._give_disks()
        except BaseException:
            self.network.close()
            raise

    def _give_disks(self):
        self.cluster.faults = list(ALL_FAULTS)
        try:
            self.disks = faults.SmallDisks(self.cluster, 2 << 30)
        except RuntimeError as error:
            print(f"NO SMALL DISKS HERE, none will be full: {error}")
            self.cluster.faults.remove(faults.fill_disk)

    def close(self):
        self.cluster.close()
        if self.disks is not None:
            self.disks.close()
        self.network.close()


@pytest.fixture
def make_place(tmp_path):
    places = []

    def make(zones):
        places.append(Place(tmp_path, zones))
        make.nodes += places[-1].cluster.nodes
        places[-1].cluster.start()
        return places[-1].cluster
    make.nodes = []  # whose logs belong to a failure
    yield make
    for place in places:
        place.close()


def judge(name, ops, record_property):
    """Fails when ops are not linearizable, and keeps them then."""
    verdict = check(ops)
    print(verdict.summary())
    record_property("figures", verdict.summary())
    if not verdict.good:
        path = ROOT / "build" / "histories" / f"{name}-{int(time.time())}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        History(ops).save(path)
        pytest.fail(f"{verdict.text()}\nall of it: {path}")


def shuffled_forever(chooser, items):
    """Each as often as the others, in random order."""
    while True:
        items = list(items)
        chooser.shuffle(items)
        yield from items


def one_fault(cluster, load, chooser, fault, begun):
    """Harm, wait, cure, and wait until writes are answered again."""
    hurt_ns = time.monotonic_ns()
    what, cure = fault(cluster, chooser)
    print(f"{time.monotonic() - begun:7.1f} s  {what}: ", end="", flush=True)
    try:
        time.sleep(STOPPED_S if "SIGSTOP" in what else chooser.uniform(0.5, 4))
    finally:
        cure()
    load.wait_writes(1)
    time.sleep(chooser.uniform(0, 1.5))
    print(f"no write for {load.longest_gap_s(hurt_ns, time.monotonic_ns()):.2f} s", flush=True)
    cluster.check_alive()


def chaos(cluster, chooser, order, name, seconds, record_property):
    """One round; returns how many faults there were of which kind."""
    counts, begun = {}, time.monotonic()
    with RecordedLoad(cluster, name, seed=chooser.random()) as load:
        load.wait_writes(1)
        while time.monotonic() - begun < seconds:
            fault = next(order)
            one_fault(cluster, load, chooser, fault, begun)
            counts[fault.__name__] = counts.get(fault.__name__, 0) + 1
        cluster.wait_ready()
    for node in cluster.nodes:
        load.read_all(node)
    wait_equal(cluster.nodes)
    judge(name, load.history.ops, record_property)
    return counts


def forget_the_past(cluster):
    """What an hour writes is more than the disks hold."""
    revision = cluster.etcdctl_json("get", "none")["header"]["revision"]
    cluster.etcdctl("compaction", str(revision))


def run_chaos(cluster, name, seconds, record_property):
    chooser = random.Random(seed_of_run())
    order = shuffled_forever(chooser, cluster.faults)
    counts, begun, number = {}, time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        left = seconds - (time.monotonic() - begun)
        number += 1
        for fault, count in chaos(cluster, chooser, order, f"{name}-{number}",
                                  min(ROUND_S, left), record_property).items():
            counts[fault] = counts.get(fault, 0) + count
        forget_the_past(cluster)
    record_property("figures", f"{sum(counts.values())} faults in {number} rounds: " + ", ".join(
        f"{fault} {count}" for fault, count in sorted(counts.items())))
    cluster.still_serves()


@needs_network
def test_what_is_not_linearizable_is_found(make_place):
    """The same workload, but its reads ask for less than they are judged by."""
    cluster = make_place("abc")
    with RecordedLoad(cluster, "lie", lie=True) as load:
        load.wait_writes(50)
        follower = faults.follower_of(cluster, random.Random(1))
        cluster.network.part(follower.zone, [zone for zone in "abc" if zone != follower.zone])
        load.wait_writes(200)
        load.read_all(follower)
        cluster.network.heal()
    verdict = check(load.history.ops)
    assert verdict.failing
    print(verdict.text())


@needs_network
def test_three_nodes_in_three_zones(make_place, record_property):
    """Zones of one node: to part the leader's is to part the leader alone."""
    run_chaos(make_place("abc"), "three", MINUTES * 60 * 2 / 3, record_property)


@needs_network
def test_five_nodes_in_three_zones(make_place, record_property):
    """Zones of two, two and one: to part the leader's is, mostly, to leave it a minority."""
    run_chaos(make_place("aabbc"), "five", MINUTES * 60 / 3, record_property)
