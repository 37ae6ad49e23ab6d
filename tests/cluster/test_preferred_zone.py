# SPDX-License-Identifier: Apache-2.0
"""Leadership goes to the zone where it is wanted, and stays there."""

import pytest
from cluster import Cluster, wait_for
from workload import Workload


@pytest.fixture
def preferring(tmp_path):
    """Three nodes, of which none is preferred until the test says so."""
    cluster = Cluster(tmp_path, 3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


def prefer(cluster, zone):
    for node in cluster.nodes:
        config = type(node).config(node)
        config["cluster"]["preferred_zones"] = [zone]
        node.config = lambda config=config: config
        node.write_config()
        assert node.stop() == 0
        node.start()
        cluster.wait_ready()


def test_it_goes_there_under_load(preferring):
    wanted = preferring.followers()[0]
    prefer(preferring, wanted.zone)
    with Workload(preferring) as workload:
        workload.wait_writes(1)
        wait_for(lambda: preferring.leader() is wanted, "the preferred zone to lead")
        workload.wait_writes(50)
        assert preferring.leader() is wanted
    workload.check_end(preferring.nodes[0])
