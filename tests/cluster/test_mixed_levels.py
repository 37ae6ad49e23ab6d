# SPDX-License-Identifier: Apache-2.0
"""A rolling upgrade under load: the nodes go from one feature level to the next one by one, and the
cluster acts at the new one when the last is there."""

import json
import subprocess

import pytest
from cluster import STRONGROOM, Cluster, wait_for
from test_feature_level import add, epoch, set_level
from test_failures import wait_equal
from workload import Workload


@pytest.fixture
def old(tmp_path):
    """Three nodes of the version before."""
    cluster = Cluster(tmp_path, 3, storage={"memtable_entries": 32, "unindexed_entries": 64})
    for node in cluster.nodes:
        set_level(node, 1)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def level(cluster, node):
    return json.loads(cluster.strongroom("status", "--json", nodes=[node]).stdout)["feature_level"]


def replace(cluster, node, to):
    assert node.stop() == 0, node.log()
    set_level(node, to)
    node.start()
    cluster.wait_ready()


def test_a_rolling_upgrade_under_load(old):
    with Workload(old) as workload:
        workload.wait_writes(10)
        for number, node in enumerate(old.nodes):
            for each in old.nodes:
                wait_for(lambda each=each: level(old, each) == 1, f"{each.name} to act at 1")
            assert epoch(old) == 0
            assert add(old).returncode != 0
            replace(old, node, 2)
            if number == 0:  # and back: nothing has been written that it would not know
                replace(old, node, 1)
                workload.wait_writes(5)
                replace(old, node, 2)
            workload.wait_writes(10)
        for each in old.nodes:
            wait_for(lambda each=each: level(old, each) == 2, f"{each.name} to act at 2")
        wait_for(lambda: epoch(old) >= 1, "the cluster record")
        workload.wait_writes(10)
        assert workload.violations == []
    for each in old.nodes:
        workload.check_end(each)
    wait_equal(old.nodes)

    # One of the version before is too old now, and the others go on without it.
    node = old.followers()[0]
    assert node.stop() == 0
    set_level(node, 1)
    refused = node.run_once()
    assert refused.returncode == 1
    assert "cluster.feature_level is 1, but the cluster acts at 2" in refused.stderr
    old.put("goes-on", "1")


def ships(node, directory, to):
    """The node's configuration: level @to, and an off-site target of its own machine."""
    config = type(node).config(node)
    config["cluster"]["feature_level"] = to
    config["offsite"] = {"recovery_keys": [str(directory / "recovery.pub")],
                         "targets": [{"name": "vault", "url": f"file://{directory}/vault"}]}
    node.config = lambda: config
    node.write_config()


@pytest.fixture
def without_offsite(tmp_path):
    """Three nodes that are to ship, and act at a level that knows nothing of it."""
    subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", tmp_path / "recovery.pub"],
                   check=True, capture_output=True)
    (tmp_path / "vault").mkdir()
    cluster = Cluster(tmp_path, 3, storage={"memtable_entries": 32, "unindexed_entries": 64})
    for node in cluster.nodes:
        ships(node, tmp_path, 2)
    try:
        cluster.start()
        yield cluster, tmp_path
    finally:
        cluster.close()


def founded(cluster):
    return sum("off-site record founded" in node.log() for node in cluster.nodes)


def test_off_site_waits_for_the_last_member(without_offsite):
    cluster, directory = without_offsite
    wait_for(lambda: epoch(cluster) >= 1, "the cluster record")
    with Workload(cluster) as workload:
        workload.wait_writes(10)
        for number, node in enumerate(cluster.nodes):
            for each in cluster.nodes:
                wait_for(lambda each=each: level(cluster, each) == 2, f"{each.name} to act at 2")
            assert founded(cluster) == 0
            assert node.stop() == 0, node.log()
            ships(node, directory, 3)
            node.start()
            cluster.wait_ready()
            if number == 1:  # and back: nothing has been written that it would not know
                assert node.stop() == 0, node.log()
                ships(node, directory, 2)
                node.start()
                cluster.wait_ready()
                workload.wait_writes(5)
                assert node.stop() == 0, node.log()
                ships(node, directory, 3)
                node.start()
                cluster.wait_ready()
            workload.wait_writes(10)
        for each in cluster.nodes:
            wait_for(lambda each=each: level(cluster, each) == 3, f"{each.name} to act at 3")
        wait_for(lambda: founded(cluster) >= 1, "the off-site record")
        workload.wait_writes(10)
        assert workload.violations == []
    for each in cluster.nodes:
        workload.check_end(each)
    wait_equal(cluster.nodes)
    assert founded(cluster) == 1

    # It survives restarts, and there is no way back.
    node = cluster.followers()[0]
    assert node.stop() == 0
    ships(node, directory, 2)
    refused = node.run_once()
    assert refused.returncode == 1
    assert "cluster.feature_level is 2, but the cluster acts at 3" in refused.stderr
    cluster.put("goes-on", "1")
    ships(node, directory, 3)
    node.start()
    cluster.wait_ready()
    wait_equal(cluster.nodes)
    assert founded(cluster) == 1
