# SPDX-License-Identifier: Apache-2.0
import os

import pytest

# gRPC for Python looks at its sockets while a call waits, and otherwise this often: a channel whose
# calls all fail at once would take 5 s for each step of connecting anew. Read when it is loaded.
os.environ.setdefault("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "20")

from cluster import STRONGROOM, STRONGROOMD, Cluster  # noqa: E402


def pytest_sessionstart():
    for binary in (STRONGROOMD, STRONGROOM):
        if not binary.exists():
            pytest.exit(f"{binary} is missing: build first, or set STRONGROOM_BUILD", 2)


# Files are run beside each other: what takes minutes begins first.
LONGEST = ("linearizability", "zones", "offsite", "membership", "runbooks", "disk_full", "failures",
           "image", "recover", "restore", "drill", "corruption", "mixed_levels")


def pytest_collection_modifyitems(items):
    def rank(item):
        name = item.path.stem.removeprefix("test_")
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """What the nodes logged belongs to a failure."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            for node in getattr(value, "nodes", []):
                report.sections.append((f"log of {node.name}", node.log()[-4000:]))


def pytest_terminal_summary(terminalreporter):
    """Figures are worth a line of a run that passes, too."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "figures":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Three nodes that all tests of a file share: leave them as they were."""
    cluster = Cluster(tmp_path_factory.mktemp("shared"), 3)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def cluster(tmp_path):
    """Three nodes of the test's own, to be broken; so small tables that all files are busy."""
    cluster = Cluster(tmp_path, 3, storage={"memtable_entries": 32, "unindexed_entries": 64})
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def one_node(tmp_path):
    """A single node, not started."""
    cluster = Cluster(tmp_path, 1)
    try:
        yield cluster
    finally:
        cluster.close()
