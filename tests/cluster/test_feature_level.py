# SPDX-License-Identifier: Apache-2.0
"""A cluster acts at the lowest feature level of its members."""

import json

import pytest
from cluster import Cluster, wait_for


def set_level(node, level):
    config = type(node).config(node)
    config["cluster"]["feature_level"] = level
    node.config = lambda: config
    node.write_config()


@pytest.fixture
def mixed(tmp_path):
    """Three nodes, of which the last knows no cluster record."""
    cluster = Cluster(tmp_path, 3)
    set_level(cluster.nodes[2], 1)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def epoch(cluster):
    return json.loads(cluster.strongroom("status", "--json").stdout)["epoch"]


def add(cluster):
    return cluster.etcdctl("member", "add", "n9", "--peer-urls=https://127.0.0.1:9", "--learner",
                           check=False)


def test_the_old_one_is_not_left_behind(mixed):
    old = mixed.nodes[2]
    mixed.put("k", "1")
    assert mixed.get("k") == "1"
    refused = add(mixed)
    assert "a version that does not know how" in refused.stderr
    assert epoch(mixed) == 0

    # While it is away, too: it must be able to come back.
    assert old.stop() == 0
    mixed.wait_ready()
    assert "a version that does not know how" in add(mixed).stderr
    old.start()
    mixed.wait_ready()
    assert len(mixed.etcdctl("member", "list").stdout.splitlines()) == 3

    # Upgraded, the cluster goes on to what all of them know now.
    assert old.stop() == 0
    set_level(old, 2)
    old.start()
    mixed.wait_ready()
    wait_for(lambda: epoch(mixed) >= 1, "the cluster record")
    wait_for(lambda: add(mixed).returncode == 0, "all nodes to have it")
    assert len(mixed.etcdctl("member", "list").stdout.splitlines()) == 4
    assert mixed.get("k") == "1"

    # There is no way back, and it is said why.
    assert old.stop() == 0
    set_level(old, 1)
    result = old.run_once()
    assert result.returncode != 0
    assert "cluster.feature_level is 1, but the cluster acts at 2" in result.stderr
