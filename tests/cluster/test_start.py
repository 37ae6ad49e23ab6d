# SPDX-License-Identifier: Apache-2.0
"""A node that cannot be trusted does not start, and says why on standard error."""

import os
import shutil
import subprocess
import zlib

import pytest
from cluster import STRONGROOM, Cluster, to_yaml


def write_config(node, change):
    config = node.config()
    change(config)
    node.config_path.write_text(to_yaml(config) + "\n")


def expect_exit(node, code, *texts):
    result = node.run_once()
    assert result.returncode == code, result.stderr
    for text in texts:
        assert text in result.stderr, result.stderr


# ---- Configuration: exit code 2, with file, line and field ----

@pytest.mark.parametrize("change, field", [
    (lambda c: c.update(surprise=1), "surprise"),
    (lambda c: c["client"].update(surprise="x"), "client.surprise"),
    (lambda c: c["client"].update(loops="many"), "client.loops"),
    (lambda c: c["client"].update(loops=99), "client.loops"),
    (lambda c: c["peer"].update(election_timeout_ms=-1), "peer.election_timeout_ms"),
    (lambda c: c["log"].update(level="loud"), "log.level"),
    (lambda c: c.update(name="n9"), "name"),
    (lambda c: c.pop("data_dir"), "data_dir"),
    (lambda c: c["cluster"].update(members="n1"), "cluster.members"),
    (lambda c: c["cluster"]["members"][0].pop("zone"), "zone"),
], ids=["unknown", "unknown-nested", "not-a-number", "too-large", "negative", "not-a-level",
        "no-such-member", "missing", "not-a-list", "no-zone"])
def test_wrong_configuration(one_node, change, field):
    node = one_node.nodes[0]
    write_config(node, change)
    expect_exit(node, 2, str(node.config_path), field)
    assert not node.data_dir.exists()


def test_configuration_names_the_line(one_node):
    node = one_node.nodes[0]
    lines = to_yaml(node.config()).splitlines()
    lines.insert(3, "surprise: 1")
    node.config_path.write_text("\n".join(lines) + "\n")
    expect_exit(node, 2, f"{node.config_path}:4: surprise")


@pytest.mark.parametrize("text", ["", "name: [", "\t\tname: x", "name: a\nname: b\n", "- 1\n"],
                         ids=["empty", "open", "tabs", "twice", "list"])
def test_no_configuration_at_all(one_node, text):
    node = one_node.nodes[0]
    node.config_path.write_text(text)
    expect_exit(node, 2, str(node.config_path))


def test_missing_configuration(one_node):
    node = one_node.nodes[0]
    node.config_path.unlink()
    expect_exit(node, 2, str(node.config_path))


# ---- Keys and data: exit code 1; damage: exit code 4 ----

def born(one_node):
    """A node with data, stopped."""
    node = one_node.nodes[0]
    one_node.start()
    one_node.put("k", "v")
    assert node.stop() == 0, node.log()
    return node


def expect_still_good(cluster, node):
    """Nothing of what went wrong has harmed the data."""
    node.write_config()
    node.start()
    cluster.wait_ready()
    assert cluster.get("k") == "v"


def new_kek(node):
    path = node.dir / "other-kek"
    subprocess.run([STRONGROOM, "keygen", "--out", path], check=True, capture_output=True)
    return path


def test_wrong_missing_and_open_kek(one_node):
    node = born(one_node)
    other = new_kek(node)
    write_config(node, lambda c: c.update(kek_file=other))
    expect_exit(node, 1, "cannot start", "keyring")
    write_config(node, lambda c: c.update(kek_file=node.dir / "nowhere"))
    expect_exit(node, 1, "cannot start", str(node.dir / "nowhere"))
    os.chmod(node.kek_path, 0o440)
    node.write_config()
    expect_exit(node, 1, "cannot start", str(node.kek_path), "mode 440 lets others in")
    os.chmod(node.kek_path, 0o400)
    short = node.dir / "short-kek"
    short.write_text("abc")
    os.chmod(short, 0o400)
    write_config(node, lambda c: c.update(kek_file=short))
    expect_exit(node, 1, "cannot start", "expected 32 bytes or 64 hexadecimal digits")
    expect_still_good(one_node, node)


def test_data_of_another_cluster_and_member(one_node):
    node = born(one_node)
    write_config(node, lambda c: c["cluster"].update(name="other"))
    expect_exit(node, 1, "cannot start", "belongs to another cluster")
    expect_still_good(one_node, node)


def test_data_of_another_member(tmp_path):
    cluster = Cluster(tmp_path, 3)
    try:
        cluster.start()
        cluster.put("k", "v")
        one, two, _ = cluster.nodes
        one.kill()
        two.kill()
        kept = one.dir / "kept"
        shutil.move(one.data_dir, kept)
        shutil.copytree(two.data_dir, one.data_dir)
        result = one.run_once()
        assert result.returncode == 1
        assert "belongs to another member" in result.stderr
        shutil.rmtree(one.data_dir)
        shutil.move(kept, one.data_dir)
        one.start()
        two.start()
        cluster.wait_ready()
        cluster.still_serves()
    finally:
        cluster.close()


def test_data_of_a_newer_format(one_node):
    node = born(one_node)
    path = node.data_dir / "format"
    text = path.read_text()

    def write(lines):
        path.write_text(f"{lines}crc32={zlib.crc32(lines.encode()):08x}\n")
    lines = text[:text.index("crc32=")]
    write(lines.replace("format=1", "format=2"))
    expect_exit(node, 1, "cannot start", "has format 2, written by a newer version")
    write(lines.replace("incompatible=0", "incompatible=8"))
    expect_exit(node, 1, "cannot start", "uses features 0x8 that this version does not know")
    path.write_text("something else\n")
    expect_exit(node, 1, "cannot start", "is not a Strongroom format file")
    path.write_text(lines.replace("started=1", "started=0") + text[text.index("crc32="):])
    expect_exit(node, 4, "cannot start", "cut or damaged", "rebuild")
    path.write_text(text)
    expect_still_good(one_node, node)


@pytest.mark.parametrize("part", ["keyring", "log", "state", "format"])
def test_lost_parts(one_node, part):
    node = born(one_node)
    path = node.data_dir / part
    kept = node.dir / "kept"
    shutil.move(path, kept)
    expect_exit(node, 4, "cannot start", "data_dir", "rebuild it from its peers")
    if path.is_dir():
        shutil.rmtree(path)
    shutil.move(kept, path)
    expect_still_good(one_node, node)


def flip_byte(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


def test_damaged_keyring(one_node):
    node = born(one_node)
    path = node.data_dir / "keyring"
    os.chmod(path, 0o600)
    offset = path.stat().st_size // 2
    flip_byte(path, offset)
    expect_exit(node, 1, "cannot start", "keyring")
    flip_byte(path, offset)
    expect_still_good(one_node, node)


def test_directory_in_use(one_node):
    node = one_node.nodes[0]
    one_node.start()
    expect_exit(node, 1, "cannot start", "is in use by another strongroomd")
    one_node.still_serves()


def test_port_in_use(one_node):
    node = one_node.nodes[0]
    one_node.start()
    write_config(node, lambda c: c.update(data_dir=node.dir / "other-data"))
    expect_exit(node, 1, "cannot start", "client port", str(node.client_port))
    one_node.still_serves()


def test_tls_files(one_node):
    node = one_node.nodes[0]
    missing = node.dir / "missing.crt"
    write_config(node, lambda c: c["client"]["tls"].update(certificate=missing))
    expect_exit(node, 1, "cannot start", str(missing))
    one_node.pki.client("other")
    write_config(node, lambda c: c["client"]["tls"].update(
        private_key=one_node.pki.path("other.key")))
    expect_exit(node, 1, "cannot start", "client port")


# ---- The command line ----

def test_arguments(one_node):
    node = one_node.nodes[0]
    assert node.run_once("--check").stdout == f"{node.config_path}: ok\n"
    assert not node.data_dir.exists()
    result = node.run_once("surplus")
    assert result.returncode == 2 and "surplus" in result.stderr
    assert node.run_once("--version").stdout.startswith("strongroomd ")
    assert node.run_once("--nonsense").returncode == 2
