# SPDX-License-Identifier: Apache-2.0
"""A node was away while all members that it knew were replaced: it cannot tell the new ones from
strangers, says so, and is rebuilt."""

from cluster import wait_for
from test_membership import add, wait_settled


def replace_all_but(cluster, away):
    """The others make way for two new ones, while it is away."""
    old = [node for node in cluster.nodes if node is not away]
    for name, zone in (("n4", "a"), ("n5", "b")):
        node = cluster.new_node(name, zone, cluster.dir / f"{name}.token")
        add(cluster, node, "--token-file", cluster.dir / f"{name}.token")
        node.start()
        cluster.strongroom("member", "wait", name)
    for node in old:
        cluster.strongroom("member", "remove", node.name, "--force")
        node.wait_exit()
        cluster.forget(node)


def test_a_stranded_node_is_rebuilt(cluster):
    wait_settled(cluster)
    away = cluster.followers()[0]
    cluster.put("key", "before")
    away.kill()
    replace_all_but(cluster, away)
    present = [node for node in cluster.nodes if node is not away]
    cluster.put("key", "after", nodes=present)

    away.start()
    wait_for(lambda: "is not another member here" in away.log(), "it to tell that it is alone")
    wait_for(lambda: "is not another member here" in present[0].log() + present[1].log(),
             "the others to tell")
    assert cluster.etcdctl("get", "key", nodes=[away], check=False).returncode != 0
    assert away.stop() == 0

    endpoints = ",".join(node.endpoint for node in present)
    cluster.strongroom("rebuild", "--config", away.config_path, "--endpoints", endpoints,
                       nodes=present)
    away.start()
    cluster.strongroom("member", "wait", away.name, nodes=present)
    assert cluster.get("key", nodes=[away]) == "after"
