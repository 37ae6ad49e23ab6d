# SPDX-License-Identifier: Apache-2.0
"""A cluster of real strongroomd processes on this machine, and the means to hurt it."""

import json
import os
import pathlib
import random
import signal
import socket
import ssl
import subprocess
import time

import grpc
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("STRONGROOM_BUILD", ROOT / "build" / "release")).resolve()
STRONGROOMD = BUILD / "node" / "strongroomd"
STRONGROOM = BUILD / "client" / "strongroom"

# A sanitized or busy machine is slow; these only bound how long a failing test takes.
PATIENCE_S = 60


def wait_for(condition, what, timeout=PATIENCE_S):
    """Call condition() until it returns something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out waiting for {what}")
        time.sleep(0.05)


_reservations = []  # sockets whose names say which ports are ours while we live


def free_port():
    """A port that nobody listens on, below those that the kernel gives to outgoing connections,
    so that it is still free when its node starts again; and no other suite on this machine's."""
    while True:
        port = random.randrange(12000, 32000)
        reservation = socket.socket(socket.AF_UNIX)
        with socket.socket() as probe:
            try:
                reservation.bind(f"\0strongroom-test-port-{port}")
                probe.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
        _reservations.append(reservation)
        return port


class Pki:
    """A certificate authority in a directory."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.make("ca")

    def make(self, *words):
        subprocess.run([STRONGROOM, "pki", words[0], "--dir", self.dir, *words[1:]],
                       check=True, capture_output=True, text=True)

    def node(self, name, address="127.0.0.1"):
        self.make("node", name, "--ip", address, "--dns", "localhost")

    def client(self, name):
        self.make("client", name)

    def path(self, file):
        return str(self.dir / file)

    def read(self, file):
        return (self.dir / file).read_bytes()


def to_yaml(value, indent=0):
    """Enough YAML for a configuration: mappings, lists, strings and numbers."""
    pad = "  " * indent
    lines = []
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                lines.append(f"{pad}{key}:")
                lines.append(to_yaml(item, indent + 1))
            else:
                lines.append(f"{pad}{key}: {item}")
    else:
        for item in value:
            if isinstance(item, dict):
                lines.append(f"{pad}-" + to_yaml(item, indent + 1)[len(pad) + 1:])
            else:
                lines.append(f"{pad}- {item}")
    return "\n".join(lines)


class Node:
    """One strongroomd. Its directory has config.yaml, kek, data/ and log."""

    def __init__(self, cluster, name, zone):
        self.cluster = cluster
        self.join = None  # cluster.join, of a node that comes later
        self.name = name
        self.zone = zone
        self.address = cluster.network.address(zone) if cluster.network else "127.0.0.1"
        self.prefix = cluster.network.prefix(zone) if cluster.network else []  # of its command
        self.environment = {}  # beside ours
        self.dir = cluster.dir / name
        self.dir.mkdir()
        self.client_port = free_port()
        self.peer_port = free_port()
        self.admin_port = free_port()
        self.data_dir = self.dir / "data"
        self.log_path = self.dir / "log"
        self.config_path = self.dir / "config.yaml"
        self.kek_path = self.dir / "kek"
        self.process = None
        self.image = None  # these two: sections of the configuration
        self.offsite = None
        cluster.pki.node(name, self.address)
        subprocess.run([STRONGROOM, "keygen", "--out", self.kek_path], check=True,
                       capture_output=True)

    @property
    def endpoint(self):
        return f"https://{self.address}:{self.client_port}"

    def config(self):
        pki = self.cluster.pki
        tls = {"certificate": pki.path(f"{self.name}.crt"),
               "private_key": pki.path(f"{self.name}.key"),
               "ca": pki.path("ca.crt")}
        return {
            "name": self.name,
            "data_dir": self.data_dir,
            "kek_file": self.kek_path,
            "cluster": self.cluster_config(),
            "client": {"listen": f"{self.address}:{self.client_port}", "tls": tls, "loops": 2},
            "peer": {"listen": f"{self.address}:{self.peer_port}", "tls": tls,
                     "election_timeout_ms": self.cluster.election_timeout_ms, "tick_ms": 25},
            "admin": {"listen": f"127.0.0.1:{self.admin_port}"},
            "storage": {"disk_reserve_bytes": 1 << 20, **self.cluster.storage},
            **({"image": self.image} if self.image else {}),
            **({"offsite": self.offsite} if self.offsite else {}),
            "log": {"level": "info"},
        }

    @property
    def peer_address(self):
        return f"{self.address}:{self.peer_port}"

    def cluster_config(self):
        """All founders, or this node alone and whom it is to ask."""
        nodes = [self] if self.join else [node for node in self.cluster.nodes if not node.join]
        members = [{"name": node.name, "zone": node.zone, "peer_address": node.peer_address,
                    "client_urls": [node.endpoint]} for node in nodes]
        config = {"name": self.cluster.name, "members": members}
        return {**config, "join": self.join} if self.join else config

    def write_config(self):
        self.config_path.write_text(to_yaml(self.config()) + "\n")

    def start(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, STRONGROOMD, "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self.environment})

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        """Ask it to stop; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return code

    def wait_exit(self):
        """It ends by itself; returns its exit code."""
        code = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return code

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def run_once(self, *arguments, config=None):
        """Run in the foreground what is expected to fail at once."""
        return subprocess.run([STRONGROOMD, "--config", config or self.config_path, *arguments],
                              capture_output=True, text=True, timeout=PATIENCE_S)

    def channel(self, **options):
        return self.cluster.channel(self.client_port, host=self.address, **options)

    def status(self, timeout=2):
        """The Status of this node, or None."""
        with self.channel() as channel:
            try:
                return rpc_pb2_grpc.MaintenanceStub(channel).Status(rpc_pb2.StatusRequest(),
                                                                    timeout=timeout)
            except grpc.RpcError:
                return None


class Cluster:
    """size nodes in as many zones; or one in each of zones, which may repeat. On a network (of
    network.py) each zone is a host of its own, otherwise all are on the loopback address."""

    def __init__(self, directory, size=0, name="test", election_timeout_ms=300, storage=None,
                 zones=None, network=None):
        self.storage = storage or {}
        self.network = network
        self.dir = pathlib.Path(directory)
        self.name = name
        self.election_timeout_ms = election_timeout_ms
        self.pki = Pki(self.dir / "pki")
        self.pki.client("app")
        self.nodes = []
        for i, zone in enumerate(zones or "abcdefghi"[:size]):
            self.nodes.append(Node(self, f"n{i + 1}", zone))
        for node in self.nodes:
            node.write_config()

    def start(self):
        for node in self.nodes:
            node.start()
        self.wait_ready()

    def new_node(self, name, zone, token_file=None):
        """A node that asks those that run for its place; neither made there nor started here."""
        node = Node(self, name, zone)
        node.join = {"peers": [other.peer_address for other in self.nodes if other.is_running()]}
        if token_file is not None:
            node.join["token_file"] = token_file
        node.write_config()
        self.nodes.append(node)
        return node

    def forget(self, node):
        """It is no part of the cluster any more."""
        self.nodes.remove(node)

    def close(self):
        for node in self.nodes:
            if node.process is not None:
                node.kill()

    # ---- State ----

    def channel(self, port, client="app", pki=None, host="127.0.0.1"):
        pki = pki or self.pki
        credentials = grpc.ssl_channel_credentials(
            pki.read("ca.crt"), pki.read(f"{client}.key"), pki.read(f"{client}.crt"))
        return grpc.secure_channel(f"ipv4:{host}:{port}", credentials, options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200)])

    def leader(self):
        """The node that it and all other running nodes take for the leader, or None."""
        self.check_alive()
        leaders = set()
        by_id = {}
        for node in self.nodes:
            if not node.is_running():
                continue
            status = node.status()
            if status is None:
                return None
            leaders.add(status.leader)
            by_id[status.header.member_id] = node
        return by_id.get(leaders.pop()) if len(leaders) == 1 else None

    def wait_leader(self):
        return wait_for(self.leader, "a leader that all running nodes know")

    def can_read(self, node):
        with node.channel() as channel:
            try:
                rpc_pb2_grpc.KVStub(channel).Range(rpc_pb2.RangeRequest(key=b"health"), timeout=2)
                return True
            except grpc.RpcError:
                return False

    def wait_ready(self):
        """Until every running node knows the leader and serves linearizable reads."""
        leader = self.wait_leader()
        for node in self.nodes:
            if node.is_running():
                wait_for(lambda node=node: self.can_read(node), f"{node.name} to serve")
        return leader

    def followers(self):
        leader = self.wait_leader()
        return [node for node in self.nodes if node is not leader]

    # ---- etcdctl ----

    def endpoints(self, nodes=None):
        return ",".join(node.endpoint for node in nodes or self.nodes)

    def etcdctl_command(self, *arguments, nodes=None):
        return ["etcdctl", "--endpoints", self.endpoints(nodes),
                "--cacert", self.pki.path("ca.crt"), "--cert", self.pki.path("app.crt"),
                "--key", self.pki.path("app.key"), *arguments]

    def etcdctl(self, *arguments, nodes=None, check=True, stdin="", timeout=PATIENCE_S):
        result = subprocess.run(self.etcdctl_command(*arguments, nodes=nodes), input=stdin,
                                capture_output=True, text=True, timeout=timeout,
                                env={**os.environ, "ETCDCTL_API": "3"}, check=False)
        if check:
            assert result.returncode == 0, f"etcdctl {arguments}: {result.stderr}"
        return result

    def etcdctl_json(self, *arguments, **options):
        return json.loads(self.etcdctl(*arguments, "--write-out=json", **options).stdout)

    def get(self, key, **options):
        return self.etcdctl("get", key, "--print-value-only", **options).stdout.rstrip("\n")

    def put(self, key, value, **options):
        assert self.etcdctl("put", key, value, **options).stdout == "OK\n"

    # ---- strongroom ----

    def environment(self, nodes=None, client="app"):
        """What the network commands of strongroom and the runbooks take from the environment."""
        return {**os.environ, "ETCDCTL_API": "3",
                "PATH": f"{STRONGROOM.parent}:{STRONGROOMD.parent}:{os.environ['PATH']}",
                "STRONGROOM_ENDPOINTS": self.endpoints(nodes),
                "STRONGROOM_CACERT": self.pki.path("ca.crt"),
                "STRONGROOM_CERT": self.pki.path(f"{client}.crt"),
                "STRONGROOM_KEY": self.pki.path(f"{client}.key")}

    def strongroom(self, *arguments, nodes=None, check=True, client="app", env=None):
        result = subprocess.run([STRONGROOM, *arguments], capture_output=True, text=True,
                                timeout=PATIENCE_S, check=False,
                                env={**self.environment(nodes, client), **(env or {})})
        if check:
            assert result.returncode == 0, f"strongroom {arguments}: {result.stderr}"
        return result

    def members(self, nodes=None):
        """strongroom status, with the members by name."""
        status = json.loads(self.strongroom("status", "--json", nodes=nodes).stdout)
        status["members"] = {member["name"]: member for member in status["members"]}
        return status

    def wait_caught_up(self):
        """Until the leader has seen that every member is up and has everything."""
        def caught_up():
            status = self.members()
            return status["epoch"] and all(member["up"] and member["caught_up"]
                                           for member in status["members"].values())
        wait_for(caught_up, "all members to be caught up")

    def check_alive(self):
        """No node that we started has ended by itself."""
        for node in self.nodes:
            assert node.process is None or node.is_running(), f"{node.name} died:\n{node.log()}"

    def still_serves(self):
        """The cluster takes a value through every running node, and gives it back everywhere."""
        self.check_alive()
        running = [node for node in self.nodes if node.is_running()]
        channels = [node.channel() for node in running]
        stubs = [rpc_pb2_grpc.KVStub(channel) for channel in channels]
        for stub in stubs:
            value = str(random.random()).encode()
            stub.Put(rpc_pb2.PutRequest(key=b"still-serves", value=value), timeout=20)
            for other in stubs:
                response = other.Range(rpc_pb2.RangeRequest(key=b"still-serves"), timeout=20)
                assert response.kvs[0].value == value
        for channel in channels:
            channel.close()
        self.check_alive()

    # ---- TLS without gRPC ----

    def tls_context(self, client="app", pki=None, alpn=("h2",), certificate=True):
        pki = pki or self.pki
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.pki.path("ca.crt"))
        if certificate:
            context.load_cert_chain(pki.path(f"{client}.crt"), pki.path(f"{client}.key"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context
