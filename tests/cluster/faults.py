# SPDX-License-Identifier: Apache-2.0
"""Ways to hurt a cluster on a network (network.py), each with its cure.

A fault is a function of (cluster, chooser); it does the harm and returns (what it did, cure).
"""

import os
import signal
import struct
import subprocess

import grpc
from cluster import BUILD, wait_for
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc

CLOCK_SHIFT = BUILD / "tests" / "cluster" / "libclock_shift.so"


def leader_of(cluster):
    """The node that most running nodes take for the leader, or any that runs."""
    votes, by_id = {}, {}
    for node in cluster.nodes:
        status = node.status(timeout=1) if node.is_running() else None
        if status is not None:
            by_id[status.header.member_id] = node
            votes[status.leader] = votes.get(status.leader, 0) + 1
    known = [member for member in votes if member in by_id]
    if not known:
        return next(node for node in cluster.nodes if node.is_running())
    return by_id[max(known, key=votes.get)]


def follower_of(cluster, chooser):
    leader = leader_of(cluster)
    return chooser.choice([node for node in cluster.nodes if node is not leader])


# ---- Processes ----

def _kill(nodes, who):
    for node in nodes:
        node.kill()

    def cure():
        for node in nodes:
            node.start()
    return f"kill -9 of {who} ({', '.join(node.name for node in nodes)})", cure


def kill_leader(cluster, _):
    return _kill([leader_of(cluster)], "the leader")


def kill_follower(cluster, chooser):
    return _kill([follower_of(cluster, chooser)], "a follower")


def kill_all(cluster, _):
    return _kill(list(cluster.nodes), "all")


def _stop(node, who):
    process = node.process
    process.send_signal(signal.SIGSTOP)
    return f"SIGSTOP of {who} ({node.name})", lambda: process.send_signal(signal.SIGCONT)


def stop_leader(cluster, _):
    return _stop(leader_of(cluster), "the leader")


def stop_follower(cluster, chooser):
    return _stop(follower_of(cluster, chooser), "a follower")


# ---- Network ----

def _other_zones(cluster, zone):
    return [other for other in cluster.network.zones if other != zone]


def part_leader(cluster, _):
    """The zone of the leader hears no other and the other way round; clients reach all. With one
    node in it the leader is alone, with two it keeps a minority."""
    leader = leader_of(cluster)
    cluster.network.part(leader.zone, _other_zones(cluster, leader.zone))
    return f"zone {leader.zone} of the leader {leader.name} parted", cluster.network.heal


def part_two_zones(cluster, chooser):
    """Two zones hear each other no more, all hear the third: nobody has lost the majority."""
    zone, other = chooser.sample(cluster.network.zones, 2)
    cluster.network.part(zone, [other])
    return f"zones {zone} and {other} parted from each other", cluster.network.heal


def deafen_leader(cluster, _):
    """It is heard and hears nothing."""
    leader = leader_of(cluster)
    for other in _other_zones(cluster, leader.zone):
        cluster.network.deafen(leader.zone, other)
    return f"zone {leader.zone} of the leader {leader.name} deaf", cluster.network.heal


def mute_leader(cluster, _):
    """It hears and is not heard."""
    leader = leader_of(cluster)
    for other in _other_zones(cluster, leader.zone):
        cluster.network.deafen(other, leader.zone)
    return f"zone {leader.zone} of the leader {leader.name} mute", cluster.network.heal


def deafen_follower(cluster, chooser):
    node = follower_of(cluster, chooser)
    for other in _other_zones(cluster, node.zone):
        cluster.network.deafen(node.zone, other)
    return f"zone {node.zone} of the follower {node.name} deaf", cluster.network.heal


def cut_zone(cluster, chooser):
    """A zone that nobody reaches, clients neither."""
    zone = chooser.choice(cluster.network.zones)
    cluster.network.cut(zone)
    return f"zone {zone} cut off", cluster.network.heal


# ---- Clocks ----

def give_clocks(cluster):
    """Before the start: wall clocks that can be set, one a node."""
    for node in cluster.nodes:
        node.clock_path = node.dir / "clock-shift"
        node.clock_path.write_bytes(struct.pack("q", 0))
        node.environment.update(LD_PRELOAD=str(CLOCK_SHIFT),
                                STRONGROOM_CLOCK_SHIFT=str(node.clock_path))


def _set_clock(node, seconds):
    with open(node.clock_path, "r+b") as file:
        file.write(struct.pack("q", int(seconds * 1e9)))


def jump_clocks(cluster, chooser):
    """Each wall clock to a time of its own, and back."""
    shifts = {node: chooser.choice((-600, -30, 0, 5, 600, 86400)) for node in cluster.nodes}
    for node, seconds in shifts.items():
        _set_clock(node, seconds)

    def cure():
        for node in cluster.nodes:
            _set_clock(node, 0)
    return "clocks off by " + ", ".join(f"{n.name} {s} s" for n, s in shifts.items()), cure


# ---- Disks ----

class SmallDisks:
    """An ext4 of its own under the data directory of each node, so small that it can be filled."""

    def __init__(self, cluster, size_bytes):
        self.mounted = []
        for node in cluster.nodes:
            try:
                self._add(node, size_bytes)
            except subprocess.CalledProcessError as error:
                self.close()
                raise RuntimeError(f"{error}: {error.stderr}") from error

    def _add(self, node, size_bytes):
        image = node.dir / "disk.image"
        with open(image, "wb") as file:
            file.truncate(size_bytes)
        node.disk = node.dir / "disk"
        node.disk.mkdir()
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True,
                       capture_output=True)
        subprocess.run(["mount", "-o", "loop", image, node.disk], check=True,
                       capture_output=True)
        self.mounted.append(node.disk)
        node.data_dir = node.disk / "data"
        node.write_config()

    def close(self):
        for disk in self.mounted:
            subprocess.run(["umount", "-l", disk], check=False)


def fill_disk(cluster, chooser):
    """Not a byte left."""
    node = leader_of(cluster) if chooser.random() < 0.5 else follower_of(cluster, chooser)
    balloon = node.disk / "balloon"
    with open(balloon, "wb") as file:
        step, size = 1 << 24, 0
        while step >= 4096:
            try:
                os.posix_fallocate(file.fileno(), size, step)
                size += step
            except OSError:
                step //= 2
    return f"disk of {node.name} full", balloon.unlink


# ---- In good order ----

def move_leader(cluster, chooser):
    leader = leader_of(cluster)
    target = follower_of(cluster, chooser)
    status = target.status()
    if status is not None:
        with leader.channel() as channel:
            rpc_pb2_grpc.MaintenanceStub(channel).MoveLeader.future(
                rpc_pb2.MoveLeaderRequest(targetID=status.header.member_id), timeout=5).exception()
    return f"leader moved from {leader.name} to {target.name}", lambda: None


def _member_call(cluster, call):
    """Of any node that does it, until one does; what it answered."""
    errors = []

    def done():
        for node in cluster.nodes:
            if node.is_running():
                with node.channel() as channel:
                    try:
                        return call(rpc_pb2_grpc.ClusterStub(channel))
                    except grpc.RpcError as error:
                        errors.append(error.details())
        return None
    try:
        return wait_for(done, "members to be changed")
    except AssertionError as error:
        raise AssertionError(f"{error}: {errors[-3:]}") from None


def add_member(cluster, chooser):
    """One that never comes: it has no vote until it has caught up. Removed again afterwards."""
    url = f"https://{cluster.network.subnet}.200:{chooser.randrange(1, 65536)}"

    def add(stub):
        listed = stub.MemberList(rpc_pb2.MemberListRequest(), timeout=2)
        for member in listed.members:  # the answer of an attempt before was lost
            if url in member.peerURLs:
                return member.ID
        return stub.MemberAdd(rpc_pb2.MemberAddRequest(peerURLs=[url]), timeout=5).member.ID
    member_id = _member_call(cluster, add)

    def remove(stub):
        try:
            stub.MemberRemove(rpc_pb2.MemberRemoveRequest(ID=member_id), timeout=5)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise
        return True
    return f"member {member_id:x} added", lambda: _member_call(cluster, remove)


FILLER_BYTES = 300_000
FILLER_VALUES = 70


def leave_behind(cluster, chooser):
    """A follower is away while more is written than the log keeps: it needs an image."""
    node = follower_of(cluster, chooser)
    node.kill()
    with leader_of(cluster).channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        for i in range(FILLER_VALUES):
            stub.Put(rpc_pb2.PutRequest(key=f"filler/{i}".encode(),
                                        value=chooser.randbytes(FILLER_BYTES)), timeout=30)
    return f"{node.name} killed and left behind", node.start


NETWORK_FAULTS = [part_leader, part_two_zones, deafen_leader, mute_leader, deafen_follower,
                  cut_zone]
PROCESS_FAULTS = [kill_leader, kill_follower, kill_all, stop_leader, stop_follower]
