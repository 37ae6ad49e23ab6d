# SPDX-License-Identifier: Apache-2.0
"""Each runbook in docs/operations does what it says, with its own commands, under load."""

import os
import re
import shutil
import time

import pytest
from cluster import ROOT, free_port, wait_for
from runbook import Runbook, blocks
from stock import Load


def zones_survivable(cluster, expected):
    """The cluster can lose this many zones; what is told each second has to get there."""
    wait_for(lambda: cluster.members()["zones_survivable"] == expected,
             f"{expected} zones to be survivable")


def runs_of(cluster, runs):
    """All of runs, one after the other, while clients work; no call of theirs may fail."""
    zones_survivable(cluster, 1)
    with Load([node for node in cluster.nodes if node.is_running()], writers=2, readers=1) as load:
        wait_for(lambda: len(load.written) >= 20 or load.failures, "the load to run")
        for run in runs:
            run()
    assert load.failures == []
    cluster.still_serves()
    for key, value in load.last.items():
        assert int(cluster.get(key)) >= value


def new_node(cluster, name, zone):
    """A machine that is ready to join, and the variables that describe it in the runbooks."""
    token_file = cluster.dir / f"{name}.token"
    node = cluster.new_node(name, zone, token_file)
    return node, {"NAME": name, "ZONE": zone, "PEER_ADDRESS": node.peer_address,
                  "CLIENT_URL": node.endpoint, "CONFIG": node.config_path,
                  "TOKEN_FILE": token_file}


def add(cluster, name, zone):
    node, variables = new_node(cluster, name, zone)
    Runbook(cluster, "add-a-node", node, **variables).run()
    assert not (cluster.dir / f"{name}.token").exists()


def removed_by_itself(node):
    """Its node has learned it: it stops, says so, and does not start again."""
    assert node.wait_exit() == 3
    assert "removed" in node.log()
    again = node.run_once()
    assert again.returncode == 3 and "removed" in again.stderr


def test_rolling_restart(cluster):
    runs_of(cluster, [Runbook(cluster, "rolling-restart", node, NAME=node.name).run
                      for node in cluster.nodes])


def test_rolling_upgrade(cluster):
    runs_of(cluster, [Runbook(cluster, "rolling-upgrade", node, NAME=node.name,
                              CONFIG=node.config_path).run for node in cluster.nodes])


def test_drain(cluster):
    node = cluster.wait_leader()

    def work(number):
        if number == 1:  # drained: its process ends with 0
            assert node.wait_exit() == 0
    runs_of(cluster, [lambda: Runbook(cluster, "drain", node, NAME=node.name).run(work)])
    wait_for(lambda: cluster.leader() is node, "leadership to be back")


def test_change_an_address(cluster):
    node = cluster.followers()[0]
    port = free_port()

    def move(number):
        if number == 2:  # it is stopped: its file says the new address
            node.peer_port = port
            node.write_config()
    runs_of(cluster, [lambda: Runbook(cluster, "change-address", node, NAME=node.name,
                                      PEER_ADDRESS=f"127.0.0.1:{port}").run(move)])
    assert cluster.members()["members"][node.name]["peer_address"] == f"127.0.0.1:{port}"
    zones_survivable(cluster, 1)


def test_replace_a_dead_node(cluster):
    zones_survivable(cluster, 1)
    dead = cluster.followers()[0]
    dead.kill()
    zones_survivable(cluster, 0)
    survivors = [node for node in cluster.nodes if node is not dead]
    node, variables = new_node(cluster, "n4", dead.zone)
    with Load(survivors, writers=2, readers=1) as load:
        wait_for(lambda: len(load.written) >= 20 or load.failures, "the load to run")
        Runbook(cluster, "replace-a-dead-node", node, DEAD=dead.name, **variables).run()
    assert load.failures == []
    zones_survivable(cluster, 1)
    members = cluster.members()["members"]
    assert sorted(members) == sorted([*(other.name for other in survivors), "n4"])
    assert members["n4"]["role"] == "voter"
    # The dead one wakes up after all.
    dead.start()
    assert dead.wait_exit() != 0
    assert "removed" in dead.log()
    cluster.forget(dead)
    cluster.still_serves()


def test_grow_to_five_and_shrink_to_three(cluster):
    runs_of(cluster, [lambda: add(cluster, "n4", "a"), lambda: add(cluster, "n5", "b")])
    members = cluster.members()["members"]
    assert [members[f"n{i}"]["role"] for i in range(1, 6)] == ["voter"] * 5
    # Those that were there first go: nothing hangs on them.
    going = cluster.nodes[:2]
    survivors = cluster.nodes[2:]
    with Load(survivors, writers=2, readers=1) as load:
        Runbook(cluster, "shrink-to-three", going[0], FIRST=going[0].name,
                SECOND=going[1].name).run()
    assert load.failures == []
    for node in going:
        removed_by_itself(node)
        cluster.forget(node)
    zones_survivable(cluster, 1)
    cluster.still_serves()


def test_remove_a_node(cluster):
    """Four are no better than three: the one that is too many goes."""
    runs_of(cluster, [lambda: add(cluster, "n4", "a")])
    node = cluster.nodes[0]

    def look(number):
        if number == 2:
            removed_by_itself(node)
    Runbook(cluster, "remove-a-node", node, NAME=node.name).run(look)
    cluster.forget(node)
    zones_survivable(cluster, 1)
    cluster.still_serves()


def damage(node):
    """One byte of its log, as a bad disk would."""
    segment = sorted((node.data_dir / "log").glob("*.seg"))[0]
    data = bytearray(segment.read_bytes())
    data[600] ^= 1
    segment.write_bytes(data)


@pytest.mark.parametrize("what", ["damaged", "lost"])
def test_rebuild(cluster, what):
    zones_survivable(cluster, 1)
    node = cluster.followers()[0]
    cluster.put("before", "1")
    node.kill()
    if what == "lost":
        shutil.rmtree(node.data_dir)
    else:
        damage(node)
        assert node.run_once().returncode == 4
    old_id = cluster.members([n for n in cluster.nodes if n is not node])["members"][node.name]["id"]
    wait_for(lambda: not cluster.members()["members"][node.name]["up"], "the leader to see it down")
    output = Runbook(cluster, "rebuild", node, NAME=node.name, CONFIG=node.config_path).run()
    assert f"removed  {node.name} ({old_id})" in output
    assert cluster.members()["members"][node.name]["id"] != old_id
    assert cluster.get("before", nodes=[node]) == "1"
    zones_survivable(cluster, 1)
    cluster.still_serves()
    # Without the old directory it stays what it is.
    assert node.stop() == 0
    node.start()
    cluster.wait_ready()


def test_lost_majority(cluster):
    for i in range(20):
        cluster.put(f"key/{i}", str(i))
    node = cluster.nodes[0]
    for other in cluster.nodes:
        other.kill()
    old = node.data_dir
    for path in [*(old / "log").iterdir(), *(old / "state").iterdir()]:
        os.utime(path, (time.time() - 120,) * 2)  # two minutes later
    node.data_dir = node.dir / "new"
    node.write_config()
    cluster.nodes = [node]
    Runbook(cluster, "lost-majority", node, CONFIG=node.config_path, DATA_DIR=old,
            KEK_FILE=node.kek_path).run()
    cluster.wait_ready()
    assert cluster.get("key/19") == "19"
    cluster.still_serves()


def test_no_runbook_without_a_test():
    tests = ("cluster/test_runbooks.py", "offsite/test_disaster.py")
    tested = {name for test in tests for name in re.findall(
        r'Runbook\(cluster, "([\w-]+)"', (ROOT / "tests" / test).read_text())}
    for path in (ROOT / "docs" / "operations").glob("*.md"):
        if "```sh" in path.read_text():
            assert blocks(path.stem) and path.stem in tested, f"{path.name} is not tested"
