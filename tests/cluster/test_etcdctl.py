# SPDX-License-Identifier: Apache-2.0
"""Debian's etcdctl, as people use it."""

import base64
import json


def b64(text):
    return base64.b64encode(text.encode()).decode()


def test_put_get_del(shared):
    shared.put("ctl/a", "1")
    shared.put("ctl/b", "2")
    shared.put("ctl/c", "")
    assert shared.get("ctl/a") == "1"
    keys = shared.etcdctl("get", "ctl/", "--prefix", "--keys-only").stdout.split()
    assert keys == ["ctl/a", "ctl/b", "ctl/c"]
    result = shared.etcdctl_json("get", "ctl/", "--prefix", "--limit=2", "--order=DESCEND")
    assert [kv["key"] for kv in result["kvs"]] == [b64("ctl/c"), b64("ctl/b")]
    assert result["count"] == 3 and result["more"] is True
    assert "ctl/a\n1\n" in shared.etcdctl("put", "ctl/a", "3", "--prev-kv").stdout
    assert shared.etcdctl("del", "ctl/a").stdout == "1\n"
    assert shared.etcdctl("del", "ctl/a").stdout == "0\n"
    assert shared.etcdctl("get", "ctl/a").stdout == ""
    assert shared.etcdctl("del", "ctl/", "--prefix").stdout == "2\n"


def test_every_node_serves(shared):
    for i, node in enumerate(shared.nodes):
        shared.put("ctl/every", str(i), nodes=[node])
        for other in shared.nodes:
            assert shared.get("ctl/every", nodes=[other]) == str(i)


def test_serializable_get(shared):
    shared.put("ctl/s", "1")
    assert shared.etcdctl("get", "ctl/s", "--consistency=s").returncode == 0


def test_old_revisions_and_compaction(shared):
    first = shared.etcdctl_json("put", "ctl/old", "1")["header"]["revision"]
    second = shared.etcdctl_json("put", "ctl/old", "2")["header"]["revision"]
    assert second > first
    assert shared.etcdctl("get", "ctl/old", f"--rev={first}", "--print-value-only").stdout == "1\n"
    assert f"compacted revision {second}" in shared.etcdctl("compaction", str(second)).stdout
    failed = shared.etcdctl("get", "ctl/old", f"--rev={first}", check=False)
    assert failed.returncode != 0
    assert "required revision has been compacted" in failed.stderr
    failed = shared.etcdctl("compaction", str(second), check=False)
    assert "required revision has been compacted" in failed.stderr
    failed = shared.etcdctl("get", "ctl/old", "--rev=1000000000", check=False)
    assert "required revision is a future revision" in failed.stderr
    assert shared.get("ctl/old") == "2"


def test_txn(shared):
    shared.put("ctl/t", "1")
    script = 'value("ctl/t") = "1"\n\nput ctl/t 2\nget ctl/t\n\nput ctl/t 3\n\n'
    assert shared.etcdctl("txn", stdin=script).stdout.split() == ["SUCCESS", "OK", "ctl/t", "2"]
    assert shared.etcdctl("txn", stdin=script).stdout.split() == ["FAILURE", "OK"]
    assert shared.get("ctl/t") == "3"
    read_only = 'version("ctl/t") > "0"\n\nget ctl/t\n\nget nothing\n\n'
    assert shared.etcdctl("txn", stdin=read_only).stdout.split() == ["SUCCESS", "ctl/t", "3"]
    twice = '\nput ctl/t 4\nput ctl/t 5\n\n\n'
    failed = shared.etcdctl("txn", stdin=twice, check=False)
    assert "duplicate key given in txn request" in failed.stderr


def test_member_list(shared):
    members = shared.etcdctl_json("member", "list")["members"]
    assert sorted(m["name"] for m in members) == ["n1", "n2", "n3"]
    assert [m["ID"] for m in members] == sorted(m["ID"] for m in members)
    by_name = {m["name"]: m for m in members}
    for node in shared.nodes:
        assert by_name[node.name]["clientURLs"] == [node.endpoint]
        assert by_name[node.name]["peerURLs"] == [f"https://127.0.0.1:{node.peer_port}"]
    table = shared.etcdctl("member", "list").stdout
    assert table.count("started") == 3


def test_endpoint_status(shared):
    statuses = shared.etcdctl_json("endpoint", "status")
    assert len(statuses) == 3
    assert len({s["Status"]["leader"] for s in statuses}) == 1
    assert statuses[0]["Status"]["leader"] in {s["Status"]["header"]["member_id"] for s in statuses}
    for status in statuses:
        assert status["Status"]["version"] == "3.5.0"
        assert status["Status"]["raftTerm"] >= 1
        assert status["Status"]["raftIndex"] >= status["Status"]["raftAppliedIndex"] >= 1
        assert status["Status"]["dbSize"] >= status["Status"].get("dbSizeInUse", 0)


def test_endpoint_health(shared):
    result = shared.etcdctl("endpoint", "health")
    assert (result.stdout + result.stderr).count("is healthy") == 3


def test_alarm_list_is_empty(shared):
    assert shared.etcdctl("alarm", "list").stdout == ""


def test_binary_and_large_values(shared):
    value = "v" * 1_000_000
    assert shared.etcdctl("put", "ctl/large", stdin=value).stdout == "OK\n"
    assert shared.get("ctl/large") == value
    shared.etcdctl("del", "ctl/large")


def test_what_is_not_served_says_so(shared):
    for words, name in ((("lease", "grant", "10"), "etcdserverpb.Lease"),
                        (("user", "list"), "etcdserverpb.Auth")):
        failed = shared.etcdctl(*words, check=False)
        assert failed.returncode != 0
        assert f"unknown service {name}" in failed.stderr
    failed = shared.etcdctl("alarm", "disarm", check=False)
    assert failed.returncode == 0 and failed.stdout == ""  # there is none


def test_headers_name_the_node_that_answers(shared):
    ids = set()
    for node in shared.nodes:
        header = shared.etcdctl_json("get", "nothing", nodes=[node])["header"]
        ids.add(header["member_id"])
        assert header["cluster_id"] != 0 and header["raft_term"] >= 1 and header["revision"] >= 1
    assert len(ids) == 3
    assert "revision" not in json.dumps(shared.etcdctl_json("member", "list")["header"])
