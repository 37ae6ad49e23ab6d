# SPDX-License-Identifier: Apache-2.0
"""No key name and no value is on a disk or in a log in the clear."""

import os
import signal
import socket
import subprocess
import sys

import pytest
from cluster import PATIENCE_S, STRONGROOM, wait_for

NAME = "customer-4711-passport"
VALUE = "P<D<<MUSTERMANN<<ERIKA"


def files(directory):
    for parent, _, names in os.walk(directory):
        for name in names:
            yield os.path.join(parent, name)


def found_in(directory, needle):
    found = []
    for path in files(directory):
        with open(path, "rb") as file:
            if needle in file.read():
                found.append(path)
    return found


def test_names_and_values_are_not_on_disk(cluster):
    large = VALUE * 10000  # over many pieces of a record
    for i in range(100):
        cluster.put(f"{NAME}-{i}", f"{VALUE}-{i}")
    cluster.etcdctl("put", f"{NAME}-large", stdin=large)
    cluster.etcdctl("get", NAME, "--prefix")
    cluster.etcdctl("txn", stdin=f'value("{NAME}-1") = "{VALUE}"\n\n\nput {NAME}-t {VALUE}-t\n\n')
    cluster.etcdctl("del", f"{NAME}-1")

    def state_bytes(node):
        return node.status().dbSize

    before = [state_bytes(node) for node in cluster.nodes]
    wait_for(lambda: all(state_bytes(node) > size for node, size in zip(cluster.nodes, before))
             or all(size > 200_000 for size in before), "the state to reach the disk")
    for node in cluster.nodes:
        assert node.stop() == 0, node.log()
    for node in cluster.nodes:
        for needle in (NAME, VALUE, NAME[3:11], VALUE[4:12]):
            for directory in (node.data_dir, node.log_path.parent):
                assert found_in(directory, needle.encode()) == []
        # The search finds what is there, and what was searched is more than a few files of zeros.
        assert found_in(node.data_dir, b"strongroom data directory") == [
            str(node.data_dir / "format")]
        assert sum(os.path.getsize(path) for path in files(node.data_dir / "state")) > 200_000
    for node in cluster.nodes:
        node.start()
    cluster.wait_ready()
    assert cluster.get(f"{NAME}-2") == f"{VALUE}-2"
    assert cluster.get(f"{NAME}-large") == large


def test_data_files_are_their_owners_alone(shared):
    for node in shared.nodes:
        for path in [str(node.data_dir), *files(node.data_dir)]:
            assert os.stat(path).st_mode & 0o077 == 0, path


# ---- Cores ----

# Where cores may be as large as they like, and go to the directory that the process is in.
UNLIMITED = ["bash", "-c", 'ulimit -c unlimited && cd "$0" && exec "$@"']


@pytest.fixture
def core_dir(tmp_path):
    """A directory where who aborts leaves a core: tried with a process that is not ours."""
    path = tmp_path / "cores"
    path.mkdir()
    aborted = subprocess.run([*UNLIMITED, path, sys.executable, "-c", "import os; os.abort()"],
                             check=False, timeout=PATIENCE_S, capture_output=True)
    assert aborted.returncode == -signal.SIGABRT
    cores = list(path.iterdir())
    if not cores:
        pytest.skip("cores do not go to the working directory here: kernel.core_pattern, or a "
                    "limit that cannot be raised")
    for core in cores:
        core.unlink()
    return path


def test_a_node_that_aborts_leaves_no_core(one_node, core_dir):
    node = one_node.nodes[0]
    node.prefix = [*UNLIMITED, core_dir]
    one_node.start()
    one_node.put(NAME, VALUE)
    limits = open(f"/proc/{node.process.pid}/limits", encoding="ascii").read()
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] \
        == [["0", "0"]]
    node.process.send_signal(signal.SIGABRT)
    assert node.wait_exit() == -signal.SIGABRT
    assert list(core_dir.iterdir()) == []


def test_a_command_with_a_recovery_key_leaves_no_core(one_node, core_dir):
    node = one_node.nodes[0]
    made = subprocess.run([STRONGROOM, "keygen", "--recovery", "--out", one_node.dir / "public"],
                          check=True, capture_output=True, text=True)
    key = one_node.dir / "private"
    key.touch(mode=0o600)
    key.write_text(next(line for line in made.stdout.splitlines()
                        if line.startswith("strongroom-recovery-private-1 ")))
    # A target that never answers.
    with socket.create_server(("127.0.0.1", 0)) as server:
        with subprocess.Popen(
                [*UNLIMITED, core_dir, STRONGROOM, "restore", "--from", "s3://bucket/prefix",
                 "--endpoint", f"http://127.0.0.1:{server.getsockname()[1]}", "--recovery-key",
                 key, "--config", node.config_path], stderr=subprocess.DEVNULL,
                env={**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}) as it:
            server.settimeout(PATIENCE_S)
            server.accept()[0].recv(1)
            it.send_signal(signal.SIGABRT)
            assert it.wait(timeout=PATIENCE_S) == -signal.SIGABRT
    assert list(core_dir.iterdir()) == []
