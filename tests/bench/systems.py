# SPDX-License-Identifier: Apache-2.0
"""The two clusters that are compared: three nodes each, on this machine, one frozen while the
other is measured.

Both get certificates of the same kind from `strongroom pki`, require client certificates, use TLS
between the nodes, and keep their data in the same file system.
"""

import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "release"
LOAD = BUILD / "tests" / "bench" / "strongroom-load"
TOOL = BUILD / "client" / "strongroom"
QUICKSTART = ROOT / "deploy" / "quickstart"
NODES = 3


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


class Usage:
    """What processes and the disk have done so far, or between two moments: a - b.

    Bytes written are the disk's own count: write_bytes in /proc/PID/io counts a whole folio of the
    page cache, up to 256 KiB, for every small write to a file that was read before.
    """

    def __init__(self, cpu_s=0.0, written_bytes=0):
        self.cpu_s = cpu_s
        self.written_bytes = written_bytes

    def __sub__(self, other):
        return Usage(self.cpu_s - other.cpu_s, self.written_bytes - other.written_bytes)

    @staticmethod
    def of(pids, directory):
        device = os.stat(directory).st_dev
        disk = pathlib.Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        total = Usage(written_bytes=int(disk.read_text().split()[6]) * 512)
        ticks = os.sysconf("SC_CLK_TCK")
        for pid in pids:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
            total.cpu_s += (int(fields[11]) + int(fields[12])) / ticks
        return total


def anonymous_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Cluster:
    """What both have in common; the subclasses know how to start nodes and where files are."""

    name = ""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.endpoints = []
        self.ca = self.certificate = self.key = None

    def pids(self):
        raise NotImplementedError

    def usage(self):
        return Usage.of(self.pids(), self.dir)

    def freeze(self):
        """Takes no processor time from now on."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)
        time.sleep(1)  # there may be an election
        for endpoint in self.endpoints:
            self.wait_until_serving(endpoint)

    def etcdctl(self, *arguments, endpoints=None, timeout=10):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("ETCDCTL_")}
        environment["ETCDCTL_API"] = "3"
        return subprocess.run(
            ["etcdctl", "--endpoints", ",".join(endpoints or self.endpoints),
             "--cacert", str(self.ca), "--cert", str(self.certificate), "--key", str(self.key),
             "--command-timeout", "3s", *arguments],
            text=True, capture_output=True, env=environment, timeout=timeout, check=False)

    def load(self, *arguments, endpoints=None):
        return subprocess.run(
            [str(LOAD), "--endpoints", ",".join(endpoints or self.endpoints),
             "--cacert", str(self.ca), "--cert", str(self.certificate), "--key", str(self.key),
             *(str(argument) for argument in arguments)],
            text=True, capture_output=True, check=False)

    def wait_until_serving(self, endpoint, within_s=300, has_keys=True):
        """Until a linearizable read through @endpoint succeeds. (etcdctl would wait for a second
        after each connection that is refused.)"""
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            if has_keys:
                done = self.load("--op", "get", "--keys", 1, "--seconds", 0.01,
                                 endpoints=[endpoint])
                if done.returncode == 0 and json.loads(done.stdout)["errors"] == 0:
                    return
            elif self.etcdctl("get", "none", endpoints=[endpoint]).returncode == 0:
                return
            time.sleep(0.01)
        raise RuntimeError(f"{self.name}: {endpoint} does not serve after {within_s} s")

    def leader_first(self):
        """The endpoints, the leader's at the head: one client talks to the leader, in both."""
        done = self.etcdctl("endpoint", "status", "-w", "json")
        leaders = []
        if done.returncode == 0:
            for status in json.loads(done.stdout):
                if status["Status"].get("leader") == status["Status"]["header"]["member_id"]:
                    leaders.append(status["Endpoint"])
        return sorted(self.endpoints, key=lambda endpoint: endpoint not in leaders)


class Etcd(Cluster):
    name = "etcd"

    def __init__(self, directory, port_base, options=()):
        super().__init__(directory)
        self.port_base = port_base
        self.options = [str(option) for option in options]  # beside ours
        self.processes = {}
        pki = self.dir / "pki"
        self.ca, self.certificate, self.key = (
            pki / "ca.crt", pki / "bench.crt", pki / "bench.key")
        self.endpoints = [f"https://127.0.0.1:{self.client_port(i)}" for i in self.all_nodes()]

    @staticmethod
    def all_nodes():
        return range(1, NODES + 1)

    def client_port(self, i):
        return self.port_base + 10 * (i - 1)

    def version(self):
        return run("etcd", "--version", capture_output=True).stdout.splitlines()[0]

    def start(self):
        pki = self.dir / "pki"
        run(TOOL, "pki", "ca", "--dir", pki, stdout=subprocess.DEVNULL)
        run(TOOL, "pki", "client", "bench", "--dir", pki, stdout=subprocess.DEVNULL)
        for i in self.all_nodes():
            run(TOOL, "pki", "node", f"n{i}", "--dir", pki, "--dns", "localhost",
                "--ip", "127.0.0.1", stdout=subprocess.DEVNULL)
        for i in self.all_nodes():
            self.start_node(i)
        for endpoint in self.endpoints:
            self.wait_until_serving(endpoint, has_keys=False)

    def start_node(self, i):
        pki = self.dir / "pki"
        peers = {j: f"https://127.0.0.1:{self.client_port(j) + 1}" for j in self.all_nodes()}
        log = open(self.dir / f"n{i}.log", "ab")
        self.processes[i] = subprocess.Popen(
            ["etcd", "--name", f"n{i}", "--data-dir", str(self.dir / f"n{i}"),
             "--listen-client-urls", self.endpoints[i - 1],
             "--advertise-client-urls", self.endpoints[i - 1],
             "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i],
             "--initial-cluster", ",".join(f"n{j}={peers[j]}" for j in self.all_nodes()),
             "--initial-cluster-token", "bench", "--initial-cluster-state", "new",
             "--client-cert-auth", "--trusted-ca-file", str(self.ca),
             "--cert-file", str(pki / f"n{i}.crt"), "--key-file", str(pki / f"n{i}.key"),
             "--peer-client-cert-auth", "--peer-trusted-ca-file", str(self.ca),
             "--peer-cert-file", str(pki / f"n{i}.crt"), "--peer-key-file", str(pki / f"n{i}.key"),
             "--quota-backend-bytes", str(8 << 30), "--log-level", "warn", *self.options],
            stdout=log, stderr=log)
        log.close()

    def pids(self):
        return [process.pid for process in self.processes.values()]

    def restart_seconds(self):
        """Kill the last node that does not lead; how long until it serves again."""
        endpoint = self.leader_first()[-1]
        i = self.endpoints.index(endpoint) + 1
        self.kill_node(i)
        started = time.monotonic()
        self.start_node(i)
        self.wait_until_serving(endpoint)
        return time.monotonic() - started

    def kill_node(self, i):
        """kill -9, and until it is gone."""
        self.processes[i].kill()
        self.processes[i].wait()

    def stop(self):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait()


class Strongroom(Cluster):
    name = "Strongroom"

    def __init__(self, directory, port_base, settings=None):
        super().__init__(directory)
        self.port_base = port_base
        self.settings = settings or {}  # lines of the configuration that are to be otherwise
        self.is_up = False
        self.commands = {}  # of nodes that are down

    def quickstart(self, command, *arguments):
        return run(QUICKSTART, command, "--dir", self.dir, *arguments, capture_output=True).stdout

    def version(self):
        commit = run("git", "-C", ROOT, "describe", "--always", "--dirty", capture_output=True)
        return f"Strongroom {commit.stdout.strip()}"

    def start(self):
        self.is_up = True
        try:
            self.quickstart("up", "--port-base", self.port_base, "--nodes", NODES)
        except subprocess.CalledProcessError as failure:
            raise RuntimeError(f"quickstart up: {failure.stderr}") from failure
        words = shlex.split(self.quickstart("env"))
        values = dict(word.split("=", 1) for word in words if "=" in word)
        self.endpoints = values["ETCDCTL_ENDPOINTS"].split(",")
        self.ca, self.certificate, self.key = (
            values["ETCDCTL_CACERT"], values["ETCDCTL_CERT"], values["ETCDCTL_KEY"])
        if self.settings:
            self.change_settings()

    def change_settings(self):
        def changed(text):
            for name, value in self.settings.items():
                text, count = re.subn(rf"^( *{name}:).*$", rf"\1 {value}", text, flags=re.MULTILINE)
                if count != 1:
                    raise RuntimeError(f"strongroom.yaml: {name} is there {count} times")
            return text

        self.reconfigure(changed)

    def reconfigure(self, changed):
        """All nodes start anew, with what @changed makes of the text of their configuration."""
        for i in range(1, NODES + 1):
            self.kill_node(i)
            path = self.dir / f"n{i}" / "strongroom.yaml"
            path.write_text(changed(path.read_text()))
        for i in range(1, NODES + 1):
            self.start_node(i)
        for endpoint in self.endpoints:
            self.wait_until_serving(endpoint, has_keys=False)

    def pid_of(self, i):
        return int((self.dir / f"n{i}" / "pid").read_text().split()[0])

    def pids(self):
        return [self.pid_of(i) for i in range(1, NODES + 1)]

    def restart_seconds(self):
        endpoint = self.leader_first()[-1]
        i = self.endpoints.index(endpoint) + 1
        self.kill_node(i)
        started = time.monotonic()
        self.start_node(i)
        self.wait_until_serving(endpoint)
        return time.monotonic() - started

    def kill_node(self, i):
        """kill -9, and until it is gone."""
        pid = self.pid_of(i)
        self.commands[i] = pathlib.Path(
            f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        os.kill(pid, signal.SIGKILL)
        while self.runs(pid):
            time.sleep(0.001)

    def start_node(self, i):
        """One that was killed, as it had been started."""
        with open(self.dir / f"n{i}" / "log", "ab") as log:
            process = subprocess.Popen(self.commands[i], stdout=log, stderr=log,
                                       start_new_session=True)
        start_time = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2]
        (self.dir / f"n{i}" / "pid").write_text(f"{process.pid} {start_time.split()[19]}\n")

    @staticmethod
    def runs(pid):
        """A process whose main thread is a zombie keeps its locks until the others are gone."""
        try:
            stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            threads = len(os.listdir(f"/proc/{pid}/task"))
        except (FileNotFoundError, ProcessLookupError):
            return False
        return stat.rpartition(") ")[2][0] not in "ZX" or threads > 1

    def stop(self):
        if self.is_up:
            for pid in self.pids():
                if self.runs(pid):
                    os.kill(pid, signal.SIGCONT)
            self.quickstart("down")
