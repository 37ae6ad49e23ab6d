# SPDX-License-Identifier: Apache-2.0
"""The network commands of strongroom, and what they say when something is wrong."""

import json

import pytest
from cluster import Pki, free_port, wait_for


def test_status(shared):
    leader = shared.wait_leader()
    status = json.loads(shared.strongroom("status", "--json").stdout)
    members = {member["name"]: member for member in status["members"]}
    assert sorted(members) == ["n1", "n2", "n3"]
    for node in shared.nodes:
        member = members[node.name]
        assert member["zone"] == node.zone
        assert member["peer_address"] == f"127.0.0.1:{node.peer_port}"
        assert member["client_urls"] == [node.endpoint]
        assert member["role"] == member["wanted"] == "voter"
    assert status["leader"] == members[leader.name]["id"]
    table = shared.strongroom("status").stdout
    assert f"leader            {leader.name}, zone {leader.zone}" in table
    # The ids are those that etcdctl knows.
    listed = shared.etcdctl("member", "list").stdout
    for member in members.values():
        assert member["id"] in listed


def test_member_list(shared):
    lines = shared.strongroom("member", "list").stdout.splitlines()
    assert len(lines) == 4
    assert sorted(line.split()[0] for line in lines[1:]) == ["n1", "n2", "n3"]


def test_endpoints_are_tried_in_turn(shared):
    dead = f"https://127.0.0.1:{free_port()}"
    endpoints = f"{dead},{shared.nodes[1].endpoint}"
    result = shared.strongroom("status", "--endpoints", endpoints, "--json")
    assert len(json.loads(result.stdout)["members"]) == 3
    result = shared.strongroom("status", "--endpoints", dead, check=False)
    assert result.returncode == 1
    assert dead in result.stderr and "onnect" in result.stderr


def test_move_leader(shared):
    leader = shared.wait_leader()
    target = shared.followers()[0]
    assert shared.strongroom("move-leader", target.name).stdout == f"{target.name} leads\n"
    wait_for(lambda: shared.leader() is target, "the new leader")
    assert "leads already" in shared.strongroom("move-leader", target.name).stdout
    member_id = shared.members()["members"][leader.name]["id"]
    shared.strongroom("move-leader", member_id)
    wait_for(lambda: shared.leader() is leader, "the old leader")


@pytest.mark.parametrize("words, says", [
    (["status", "extra"], "unexpected argument"),
    (["status", "--timeout", "0"], "not a number of seconds"),
    (["status", "--endpoints", "http://127.0.0.1:1"], "not an https:// address"),
    (["member"], "list, add, remove"),
    (["member", "add", "n9"], "--zone and --peer-address"),
    (["member", "remove"], "name one member"),
    (["member", "list", "--zone", "a"], "it takes fewer options"),
    (["drain"], "name one member"),
    (["move-leader", "n1", "--force"], "there is no --force"),
])
def test_usage(shared, words, says):
    result = shared.strongroom(*words, check=False)
    assert result.returncode == 2
    assert says in result.stderr


@pytest.mark.parametrize("words", [["status"], ["member"], ["drain"], ["move-leader"]])
def test_help(shared, words):
    result = shared.strongroom(*words, "--help")
    assert result.stdout.startswith(f"usage: strongroom {words[0]}")
    assert "--endpoints" in result.stdout and "STRONGROOM_CACERT" in result.stdout


def test_who_we_are_is_required(shared, tmp_path):
    result = shared.strongroom("status", check=False, env={"STRONGROOM_CERT": ""})
    assert result.returncode == 2 and "STRONGROOM_CERT" in result.stderr
    result = shared.strongroom("status", "--key", tmp_path / "none", check=False)
    assert result.returncode == 2 and "No such file" in result.stderr


def test_a_stranger_is_refused(shared, tmp_path):
    """A certificate of another authority."""
    other = Pki(tmp_path / "other")
    other.client("app")
    result = shared.strongroom("status", "--cert", other.path("app.crt"), "--key",
                               other.path("app.key"), nodes=[shared.nodes[0]], check=False)
    assert result.returncode == 1 and shared.nodes[0].endpoint in result.stderr
    result = shared.strongroom("status", "--cacert", other.path("ca.crt"),
                               nodes=[shared.nodes[0]], check=False)
    assert result.returncode == 1 and "certificate" in result.stderr


def test_nobody_is_called_so(shared):
    result = shared.strongroom("member", "remove", "n9", check=False)
    assert result.returncode == 1
    assert "n9: no member has this name or id; there are n" in result.stderr


def test_drain(cluster):
    cluster.wait_caught_up()
    leader = cluster.wait_leader()
    result = cluster.strongroom("drain", leader.name)
    assert result.stdout == f"{leader.name} is draining\n"
    assert leader.process.wait(timeout=60) == 0
    leader.process = None
    assert "asked to drain" in leader.log()
    assert cluster.wait_leader() is not leader
    cluster.still_serves()
    leader.start()
    cluster.wait_ready()


def test_drain_means_one_member(cluster):
    """A node that is not the one that was meant refuses."""
    first, second = cluster.nodes[:2]
    cluster.wait_leader()
    with second.channel() as channel:
        call = channel.unary_unary("/strongroom.v1.Cluster/Drain")
        member_id = int(cluster.members()["members"][first.name]["id"], 16)
        request = b"\x08"
        while member_id >= 0x80:
            request += bytes([member_id & 0x7f | 0x80])
            member_id >>= 7
        request += bytes([member_id])
        with pytest.raises(Exception, match="this is member"):
            call(request, timeout=10)
    cluster.check_alive()


