# SPDX-License-Identifier: Apache-2.0
"""Members come and go, through etcdctl and through strongroom, and what is refused."""

import re
import subprocess

import pytest
from cluster import Cluster, Pki, to_yaml, wait_for


def etcd_members(cluster, **options):
    """By id, in hexadecimal."""
    listed = cluster.etcdctl_json("member", "list", **options)["members"]
    return {f"{member['ID']:x}": member for member in listed}


def etcdctl_add(cluster, node, *options):
    """Make its place, as a person with etcdctl does; returns its id."""
    output = cluster.etcdctl("member", "add", node.name,
                             f"--peer-urls=https://{node.peer_address}", *options).stdout
    return re.search(r"Member +([0-9a-f]+) added to cluster", output).group(1)


def add(cluster, node, *options):
    """Make its place by strongroom."""
    return cluster.strongroom("member", "add", node.name, "--zone", node.zone, "--peer-address",
                              node.peer_address, "--client-url", node.endpoint, *options)


def wait_settled(cluster):
    """Until there is a record, and all are known to have caught up."""
    def settled():
        status = cluster.members()
        return (status["epoch"] > 0 and status["has_progress"] and
                all(member["caught_up"] for member in status["members"].values()))
    wait_for(settled, "a record, and everybody to be caught up")


@pytest.fixture
def settled(cluster):
    wait_settled(cluster)
    return cluster


def test_etcdctl(settled):
    """The life of a member, from the outside: added, started, learning, promoted, moved, removed."""
    cluster = settled
    for i in range(50):
        cluster.put(f"key/{i}", str(i))
    founders = list(cluster.nodes)
    node = cluster.new_node("n4", "a")
    member_id = etcdctl_add(cluster, node, "--learner")
    listed = etcd_members(cluster)[member_id]
    assert listed["peerURLs"] == [f"https://{node.peer_address}"] and listed["isLearner"]
    assert "name" not in listed  # nobody has taken the place yet
    result = cluster.etcdctl("member", "promote", member_id, check=False)
    assert result.returncode != 0 and "in sync with leader" in result.stderr

    node.start()
    wait_for(lambda: etcd_members(cluster, nodes=founders)[member_id].get("name") == "n4",
             "the place to be taken")
    cluster.strongroom("member", "wait", "n4")
    local = cluster.etcdctl("get", "key/49", "--consistency=s", "--print-value-only", nodes=[node])
    assert local.stdout == "49\n"
    cluster.etcdctl("member", "promote", member_id, nodes=founders)
    assert not etcd_members(cluster, nodes=founders)[member_id].get("isLearner", False)
    cluster.wait_ready()
    assert cluster.get("key/49", nodes=[node]) == "49"
    result = cluster.etcdctl("member", "promote", member_id, nodes=founders, check=False)
    assert result.returncode != 0 and "can only promote a learner" in result.stderr

    cluster.etcdctl("member", "remove", member_id, nodes=founders)
    assert node.wait_exit() != 0
    assert "removed" in node.log()
    assert member_id not in etcd_members(cluster, nodes=founders)
    result = cluster.etcdctl("member", "remove", member_id, nodes=founders, check=False)
    assert result.returncode != 0 and "not found" in result.stderr
    again = node.run_once()
    assert again.returncode != 0 and "removed" in again.stderr
    cluster.forget(node)
    cluster.still_serves()


def test_a_new_voter_learns_first(settled):
    """Without --learner it becomes a voter by itself; until it is there nobody waits for it."""
    cluster = settled
    node = cluster.new_node("n4", "b", cluster.dir / "token")
    output = add(cluster, node, "--token-file", cluster.dir / "token").stdout
    assert "added  n4" in output
    token = (cluster.dir / "token").read_text().strip()
    assert len(token) == 64 and token not in output
    assert (cluster.dir / "token").stat().st_mode & 0o777 == 0o600
    member = cluster.members()["members"]["n4"]
    assert member["wanted"] == "voter" and member["role"] != "voter" and not member["started"]
    for i in range(20):  # a majority of those that are there
        cluster.put("while-waiting", str(i))
    node.start()
    cluster.strongroom("member", "wait", "n4")
    assert cluster.members()["members"]["n4"]["role"] == "voter"
    cluster.wait_ready()
    cluster.still_serves()
    # Its token has been used up, and the cluster does not hold it.
    for other in cluster.nodes:
        assert token not in other.log()


def test_the_leader_can_be_removed(settled):
    cluster = settled
    leader = cluster.wait_leader()
    cluster.strongroom("member", "remove", leader.name, "--force")
    assert leader.wait_exit() != 0
    cluster.forget(leader)
    assert leader.name not in cluster.members()["members"]
    cluster.still_serves()


def test_what_would_cost_a_zone_is_refused(settled):
    cluster = settled
    first, second, third = cluster.nodes
    result = cluster.strongroom("member", "remove", first.name, check=False)
    assert result.returncode == 1
    assert "FAILED_PRECONDITION" in result.stderr and "zone" in result.stderr
    result = cluster.etcdctl("member", "remove", cluster.members()["members"][first.name]["id"],
                             check=False)
    assert result.returncode != 0 and "zone" in result.stderr
    assert len(cluster.members()["members"]) == 3

    first.kill()
    wait_for(lambda: not cluster.members([second])["members"][first.name]["up"], "it to be seen down")
    for verb in (["drain"], ["member", "remove"]):
        result = cluster.strongroom(*verb, second.name, nodes=[third], check=False)
        assert result.returncode == 1 and "FAILED_PRECONDITION" in result.stderr, result.stderr
    cluster.check_alive()
    # It can be forced, which is noted with who did it.
    result = cluster.strongroom("drain", second.name, "--force", nodes=[third])
    assert second.wait_exit() == 0
    assert 'actor="app"' in second.log() and "rule overridden" in second.log()
    first.start()
    second.start()
    cluster.wait_ready()


def test_a_stop_is_never_refused_but_noted(settled):
    cluster = settled
    first, second, third = cluster.nodes
    first.kill()
    wait_for(lambda: not cluster.members([second])["members"][first.name]["up"],
             "it to be seen down")
    assert second.stop() == 0
    assert "rule overridden" in second.log()
    first.start()
    second.start()
    cluster.wait_ready()


def test_names_and_addresses_are_unique(settled):
    cluster = settled
    node = cluster.new_node("n4", "a")
    result = cluster.strongroom("member", "add", "n1", "--zone", "a", "--peer-address",
                                node.peer_address, check=False)
    assert result.returncode == 1 and "name" in result.stderr
    result = cluster.strongroom("member", "add", "n4", "--zone", "a", "--peer-address",
                                cluster.nodes[0].peer_address, check=False)
    assert result.returncode == 1 and "already exists" in result.stderr
    result = cluster.strongroom("member", "add", "N4", "--zone", "a", "--peer-address",
                                node.peer_address, check=False)
    assert result.returncode == 1 and "INVALID_ARGUMENT" in result.stderr
    cluster.forget(node)


def test_only_whom_it_was_made_for_takes_a_place(settled, tmp_path):
    cluster = settled
    token_file = tmp_path / "token"
    node = cluster.new_node("n4", "a", token_file)
    # Nobody made a place.
    token_file.write_text("0" * 64 + "\n")
    token_file.chmod(0o600)
    result = node.run_once()
    assert result.returncode != 0 and "member says" in result.stderr, result.stderr
    token_file.unlink()
    add(cluster, node, "--token-file", token_file)
    # The wrong token.
    right = token_file.read_text()
    token_file.write_text("0" * 64 + "\n")
    result = node.run_once()
    assert result.returncode != 0 and "token" in result.stderr, result.stderr
    # A certificate of another authority.
    token_file.write_text(right)
    other = Pki(tmp_path / "foreign")
    other.node("n4", node.address)
    config = node.config()
    config["peer"]["tls"] = {"certificate": other.path("n4.crt"),
                             "private_key": other.path("n4.key"),
                             "ca": cluster.pki.path("ca.crt")}
    node.config_path.write_text(to_yaml(config) + "\n")
    node.start()
    wait_for(lambda: 'part=join msg="not yet"' in node.log(), "it to be turned away")
    node.kill()
    assert not (node.data_dir / "joined").exists()
    node.write_config()
    # Itself.
    node.start()
    cluster.strongroom("member", "wait", "n4")
    cluster.wait_ready()
    # The token is used up.
    thief = cluster.new_node("n5", "a", token_file)
    result = thief.run_once()
    assert result.returncode != 0
    cluster.forget(thief)
    cluster.still_serves()


def test_another_clusters_data_is_refused(settled, tmp_path):
    cluster = settled
    node = cluster.nodes[0]
    (tmp_path / "other").mkdir()
    other = Cluster(tmp_path / "other", 1, name="other")
    try:
        other.start()
        assert other.nodes[0].stop() == 0
        assert node.stop() == 0
        node.data_dir.rename(tmp_path / "mine")
        other.nodes[0].data_dir.rename(node.data_dir)
        kek = node.kek_path.read_bytes()
        node.kek_path.chmod(0o600)
        node.kek_path.write_bytes(other.nodes[0].kek_path.read_bytes())
        result = node.run_once()
        assert result.returncode == 1 and "cluster" in result.stderr, result.stderr
        node.data_dir.rename(tmp_path / "theirs")
        (tmp_path / "mine").rename(node.data_dir)
        node.kek_path.write_bytes(kek)
        node.start()
        cluster.wait_ready()
    finally:
        other.close()


def make_expired(pki, name):
    """A certificate of the authority, as it should be, but for a day too old."""
    request = pki.dir / f"{name}.csr"
    extensions = pki.dir / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n"
                          "extendedKeyUsage=serverAuth,clientAuth\n")
    subprocess.run(["openssl", "req", "-new", "-key", pki.path(f"{name}.key"), "-subj",
                    f"/CN={name}", "-out", request], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", request, "-CA", pki.path("ca.crt"), "-CAkey",
                    pki.path("ca.key"), "-CAcreateserial", "-days", "-1", "-extfile", extensions,
                    "-out", pki.dir / f"{name}-expired.crt"], check=True, capture_output=True)
    return pki.path(f"{name}-expired.crt")


def test_an_expired_certificate_is_refused(settled):
    """By the others, with a reason that both sides log; the rest goes on."""
    cluster = settled
    node = cluster.followers()[0]
    assert node.stop() == 0
    config = node.config()
    expired = make_expired(cluster.pki, node.name)
    config["peer"]["tls"] = {**config["peer"]["tls"], "certificate": expired}
    node.config_path.write_text(to_yaml(config) + "\n")
    node.start()
    others = [other for other in cluster.nodes if other is not node]
    wait_for(lambda: "expired" in node.log() or not node.is_running(), "it to be told why")
    assert "certificate" in node.log() and "expired" in node.log()
    cluster.put("without-it", "1", nodes=others)
    node.kill()
    node.write_config()
    node.start()
    cluster.wait_ready()
