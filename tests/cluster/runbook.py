# SPDX-License-Identifier: Apache-2.0
"""Runs the commands of a runbook as they stand in docs/operations."""

import re
import subprocess

from cluster import PATIENCE_S, ROOT

SYSTEMCTL = re.compile(r"systemctl (start|stop) strongroomd")


def blocks(name):
    """The texts of its ```sh blocks, in order."""
    text = (ROOT / "docs" / "operations" / f"{name}.md").read_text()
    found = re.findall(r"^( *)```sh\n(.*?)^ *```$", text, re.M | re.S)
    assert found, f"{name} has no commands"
    return ["\n".join(line[len(indent):] for line in body.splitlines()) for indent, body in found]


class Runbook:
    """One run of a runbook: on whose machine its services are, and its variables."""

    def __init__(self, cluster, name, node, **variables):
        self.cluster = cluster
        self.name = name
        self.node = node
        self.variables = {key: str(value) for key, value in variables.items()}
        self.output = ""

    def systemctl(self, verb):
        node = self.node
        if verb == "start":
            node.start()
        elif node.process is not None and node.process.poll() is None:
            assert node.stop() == 0, node.log()
        elif node.process is not None:
            node.wait_exit()  # it had ended by itself

    def shell(self, script):
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=False,
                                capture_output=True, text=True, timeout=2 * PATIENCE_S,
                                env={**self.cluster.environment(), **self.variables})
        self.output += result.stdout
        assert result.returncode == 0, f"{self.name}: {script}\n{result.stdout}{result.stderr}"

    def run_block(self, block):
        script = ""
        for line in block.splitlines():
            match = SYSTEMCTL.fullmatch(line.strip())
            if match is None:
                script += line + "\n"
                continue
            if script:
                self.shell(script)
            script = ""
            self.systemctl(match.group(1))
        if script:
            self.shell(script)

    def run(self, between=None):
        """between(number): called before each block, from 0; what a person does there."""
        for number, block in enumerate(blocks(self.name)):
            if between is not None:
                between(number)
            self.run_block(block)
        return self.output
