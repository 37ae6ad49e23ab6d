# SPDX-License-Identifier: Apache-2.0
"""The network commands of strongroom, and what they say when something is wrong."""

import json
import shutil
from concurrent import futures

import disk
import grpc
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


NOT_YET = "strongroom: the record of the cluster's members is not there yet: try again"


class Starting(grpc.GenericRpcHandler):
    """Says so a few times, as a cluster does that has only just started, and then adds a member."""

    def __init__(self, times):
        self.left = times
        self.calls = 0

    def service(self, details):
        assert details.method == "/strongroom.v1.Cluster/MemberAdd"
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request, context):
        assert b"n9" in request
        self.calls += 1
        if self.left > 0:
            self.left -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, NOT_YET)
        member = b"\x08\x07\x12\x02n9\x1a\x01a"
        return b"\x12" + bytes([len(member)]) + member + b"\x1a\x05token"


@pytest.fixture
def starting(tmp_path):
    """Makes such servers: returns the handler and the endpoint."""
    pki = Pki(tmp_path / "pki")
    pki.node("n1")
    pki.client("app")
    servers = []

    def make(times):
        handler = Starting(times)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers((handler,))
        credentials = grpc.ssl_server_credentials([(pki.read("n1.key"), pki.read("n1.crt"))],
                                                  pki.read("ca.crt"), True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return handler, ["--endpoints", f"https://127.0.0.1:{port}", "--cacert",
                         pki.path("ca.crt"), "--cert", pki.path("app.crt"), "--key",
                         pki.path("app.key")]

    yield make
    for server in servers:
        server.stop(None)


ADD = ("member", "add", "n9", "--zone", "a", "--peer-address", "h:1")


def test_a_cluster_that_only_just_starts_is_waited_for(shared, starting):
    handler, options = starting(3)
    result = shared.strongroom(*ADD, *options)
    assert "added  n9 (7), zone a" in result.stdout
    assert handler.calls == 4


def test_that_wait_ends(shared, starting):
    handler, options = starting(1000000)
    result = shared.strongroom(*ADD, *options, "--timeout", "1", check=False)
    assert result.returncode == 1
    assert NOT_YET in result.stderr and "UNAVAILABLE" in result.stderr
    assert result.stderr.count(NOT_YET) == 1 and handler.calls > 1


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


@pytest.mark.skipif(disk.missing() is not None, reason=str(disk.missing()))
def test_rebuild_where_a_disk_is_mounted(cluster):
    """It cannot be moved aside, which is said before the cluster is changed; emptied, it will do."""
    cluster.wait_caught_up()
    node = cluster.followers()[0]
    others = [other for other in cluster.nodes if other is not node]
    mounted = disk.Disk(node.dir / "disk")
    try:
        assert node.stop() == 0
        shutil.copytree(node.data_dir, mounted.mountpoint, dirs_exist_ok=True)
        node.data_dir = mounted.mountpoint
        node.write_config()
        member = cluster.members(others)["members"][node.name]
        wait_for(lambda: not cluster.members(others)["members"][node.name]["up"],
                 "it to be seen down")
        result = cluster.strongroom("rebuild", "--config", node.config_path, nodes=others,
                                    check=False)
        assert result.returncode == 1 and "is a mounted disk" in result.stderr, result.stderr
        assert cluster.members(others)["members"][node.name]["id"] == member["id"]
        for entry in mounted.mountpoint.iterdir():
            if entry.is_dir() and entry.name != "lost+found":
                shutil.rmtree(entry)
            elif entry.is_file():
                entry.unlink()
        cluster.strongroom("rebuild", "--config", node.config_path, nodes=others)
        assert cluster.members(others)["members"][node.name]["id"] != member["id"]
        node.start()
        cluster.strongroom("member", "wait", node.name, nodes=others)
        cluster.still_serves()
    finally:
        cluster.close()
        mounted.close()


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


