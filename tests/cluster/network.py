# SPDX-License-Identifier: Apache-2.0
"""Zones as hosts of their own: a network namespace each, joined by a bridge, on which we are too.

    us ── bridge ─┬─ zone a     what a zone does not want to hear, its own nftables drop; a zone
                  ├─ zone b     that is cut off has no cable
                  └─ zone c

Clients run with us, outside of all zones: they reach a node that no other node reaches.
"""

import os
import random
import shutil
import socket
import subprocess


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def why_not():
    """Why there can be no such network here, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    for tool in ("ip", "nft", "nsenter"):
        if shutil.which(tool) is None:
            return f"{tool} is missing"
    try:
        network = Network("a")
    except RuntimeError as error:
        return str(error)
    network.close()
    return None


class Network:
    """zones: their names, of one letter."""

    def __init__(self, zones):
        self.zones = list(dict.fromkeys(zones))
        self._reserve()
        try:
            run("ip", "link", "add", self.name, "type", "bridge")
            run("ip", "addr", "add", f"{self.subnet}.254/24", "dev", self.name)
            run("ip", "link", "set", self.name, "up")
            for zone in self.zones:
                self._add(zone)
        except RuntimeError:
            self.close()
            raise

    def _reserve(self):
        """A number that no other suite on this machine uses."""
        while True:
            number = random.randrange(256)
            self.reservation = socket.socket(socket.AF_UNIX)
            try:
                self.reservation.bind(f"\0strongroom-test-network-{number}")
                break
            except OSError:
                self.reservation.close()
        self.name = f"srt{number}"
        self.subnet = f"10.231.{number}"
        self._remove_all()  # of a suite that was killed

    def _add(self, zone):
        space, cable = self.space(zone), self.cable(zone)
        run("ip", "netns", "add", space)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", cable, "master", self.name, "up")
        run("ip", "-n", space, "addr", "add", f"{self.address(zone)}/24", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "link", "set", "lo", "up")
        self._nft(zone, "add table inet f; "
                        "add chain inet f i { type filter hook input priority 0; }")

    def _nft(self, zone, rules):
        run("ip", "netns", "exec", self.space(zone), "nft", rules)

    def _remove_all(self):
        for zone in self.zones:
            subprocess.run(["ip", "netns", "del", self.space(zone)], capture_output=True,
                           check=False)
            subprocess.run(["ip", "link", "del", self.cable(zone)], capture_output=True,
                           check=False)
        subprocess.run(["ip", "link", "del", self.name], capture_output=True, check=False)

    def close(self):
        self._remove_all()
        self.reservation.close()

    def space(self, zone):
        return f"{self.name}-{zone}"

    def cable(self, zone):
        return f"{self.name}{zone}"

    def address(self, zone):
        return f"{self.subnet}.{self.zones.index(zone) + 1}"

    def prefix(self, zone):
        """In front of a command that is to run there; it becomes that command's process."""
        return ["nsenter", f"--net=/run/netns/{self.space(zone)}"]

    # ---- Trouble ----

    def deafen(self, zone, to):
        """zone hears nothing any more of the zone to, which hears it still."""
        self._nft(zone, f"add rule inet f i ip saddr {self.address(to)} drop")

    def part(self, zone, others):
        """zone and each of others hear nothing of each other."""
        for other in others:
            self.deafen(zone, other)
            self.deafen(other, zone)

    def cut(self, zone):
        """Nobody reaches zone, clients neither."""
        run("ip", "link", "set", self.cable(zone), "down")

    def heal(self):
        for zone in self.zones:
            self._nft(zone, "flush chain inet f i")
            run("ip", "link", "set", self.cable(zone), "up")
