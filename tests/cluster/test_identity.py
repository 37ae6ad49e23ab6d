# SPDX-License-Identifier: Apache-2.0
"""A member is who it was: not one that has lost its data and begins anew under its old id."""

import shutil

from cluster import wait_for


def test_a_member_without_its_data_is_refused(cluster):
    cluster.put("k", "v")
    node = cluster.followers()[0]
    others = [other for other in cluster.nodes if other is not node]
    node.kill()
    shutil.rmtree(node.data_dir)
    node.start()
    reason = "came with another data directory than before"
    for log in [node.log, *(other.log for other in others)]:
        wait_for(lambda log=log: reason in log(), "the reason, on both sides")
    assert cluster.get("k", nodes=others) == "v"
    cluster.put("k", "w", nodes=others)
    assert not cluster.can_read(node)
    node.kill()
