# SPDX-License-Identifier: Apache-2.0
"""npm's etcd3, at the versions that package-lock.json names."""

import pathlib
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(__file__).parent / "npm"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    directory = tmp_path_factory.mktemp("npm") / "client"
    shutil.copytree(SOURCE, directory, ignore=shutil.ignore_patterns("node_modules"))
    result = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                            cwd=directory, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return directory


def test_npm_etcd3(shared, installed):
    pki = shared.pki
    for node in shared.nodes:
        result = subprocess.run(["node", "client.js", node.endpoint, pki.path("ca.crt"),
                                 pki.path("app.crt"), pki.path("app.key")],
                                cwd=installed, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        assert result.stdout == "ok\n"
