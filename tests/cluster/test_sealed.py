# SPDX-License-Identifier: Apache-2.0
"""No key name and no value is on a disk or in a log in the clear."""

import os

from cluster import wait_for

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
