#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real S3 server for the tests: Ceph's radosgw over a monitor and a disk in memory, on loopback.

    ceph = Ceph(directory); ceph.start() ... ceph.close()

All three are children of this process in the foreground, and end with it. By hand:

    tests/offsite/ceph.py DIRECTORY

starts one, prints how to reach it, and runs until it is interrupted.
"""
import ctypes
import glob
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from s3 import Client  # noqa: E402

ACCESS_KEY = "STRONGROOMTESTACCESS"
SECRET_KEY = "test/secret+key0123456789abcdefghijklmnop"
STS_KEY = "0123456789abcdef"
REGION = "default"  # what it calls itself

CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
public addr = 127.0.0.1
public network = 127.0.0.0/8
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
# No manager runs, and there is one disk: nothing may wait for more.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
# A monitor of one has nobody to wait for.
paxos propose interval = 0.02
paxos min wait = 0.01
run dir = {dir}/run
admin socket = {dir}/run/$name.asok
log file = {dir}/$name.log
keyring = {dir}/keyring
[mon]
mon data = {dir}/mon
mon initial members = a
[osd]
osd data = {dir}/osd
keyring = {dir}/osd/keyring
osd objectstore = memstore
memstore device bytes = {disk_bytes}
[client.rgw.a]
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{http_port} ssl_endpoint=127.0.0.1:{port} \
ssl_certificate={dir}/server.pem ssl_private_key={dir}/server.key
rgw s3 auth use sts = true
rgw sts key = {sts_key}
rgw thread pool size = 16
rgw rados pool pg num min = 1
rgw dynamic resharding = false
rgw enable usage log = false
# What works in the background has no part in the tests, and takes its time to stop.
rgw enable gc threads = false
rgw enable lc threads = false
rgw enable quota threads = false
rgw run sync thread = false
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def make_certificates(directory):
    """A CA, and a server's certificate by it."""
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=Strongroom test CA",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (directory / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", "server.pem")


def answers(client, when=None):
    try:
        return client.call("GET", "/", when=when).status == 200
    except OSError:
        return False


class Ceph:
    def __init__(self, directory, disk_bytes=4 << 30):
        self.dir = pathlib.Path(directory)
        self.disk_bytes = disk_bytes
        self.port = free_port()
        self.http_port = free_port()
        self.mon_port = free_port()
        self.children = {}
        self.endpoint = f"https://localhost:{self.port}"
        self.ca = self.dir / "ca.pem"

    def client(self, access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=None, port=None):
        return Client("localhost", port or self.port, self.ca, access_key, secret_key, REGION,
                      token)

    # ---- Start and stop ----

    def start(self):
        for name in ("mon", "osd", "rgw", "run"):
            (self.dir / name).mkdir(parents=True)
        self.fsid = str(uuid.uuid4())
        (self.dir / "ceph.conf").write_text(CONFIGURATION.format(
            dir=self.dir, fsid=self.fsid, port=self.port, http_port=self.http_port,
            mon_port=self.mon_port, disk_bytes=self.disk_bytes, sts_key=STS_KEY))
        make_certificates(self.dir)
        self._start_monitor()
        self._start_disk()
        self.start_gateway()
        self.add_user("strongroom", ACCESS_KEY, SECRET_KEY, "--caps=roles=*;user-policy=*")
        self._wait(self._answers, "the gateway does not answer")

    def close(self):
        for name in ("past", "rgw", "osd", "mon"):
            self._end(name)

    def start_gateway(self):
        self._spawn("rgw", "radosgw", "-f", "-n", "client.rgw.a")

    def expired_session(self, role):
        """Temporary credentials that were good until half an hour ago, by a second gateway over the
        same data that lives in the past: (access key, secret key, session token)."""
        port = free_port()
        then = time.time() - 2700
        # Not by the command faketime: that is a parent, and would be killed alone.
        clock = {"FAKETIME": "-2700s", "LD_PRELOAD": glob.glob(
            "/usr/lib/*/faketime/libfaketime.so.1")[0]}
        self._spawn("past", "radosgw", "-f", "-n", "client.rgw.a",
                    f"--rgw-frontends=beast ssl_endpoint=127.0.0.1:{port} ssl_certificate="
                    f"{self.dir}/server.pem ssl_private_key={self.dir}/server.key",
                    f"--admin-socket={self.dir}/run/past.asok", environment=clock)
        client = self.client(port=port)
        self._wait(lambda: answers(client, when=then), "the gateway in the past does not answer")
        keys = client.assume_role(role, 900, when=then)
        # It says goodbye: for half a minute the other gateway would wait for one that is killed.
        self.children["past"].terminate()
        self.children.pop("past").wait(timeout=60)
        return keys

    def kill_gateway(self):
        self._end("rgw")

    def wait_gateway(self):
        self._wait(self._answers, "the gateway does not answer")

    def add_user(self, name, access_key, secret_key, *more):
        self._run("radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}",
                  f"--access-key={access_key}", f"--secret-key={secret_key}", *more)

    def set_quota(self, name, bytes_max):
        """0: none."""
        self._run("radosgw-admin", "quota", "set", "--quota-scope=user", f"--uid={name}",
                  f"--max-size={bytes_max or -1}")
        self._run("radosgw-admin", "quota", "enable" if bytes_max else "disable",
                  "--quota-scope=user", f"--uid={name}")

    def _start_monitor(self):
        ring = str(self.dir / "keyring")
        self._run("ceph-authtool", "--create-keyring", ring, "--gen-key", "-n", "mon.",
                  "--cap", "mon", "allow *")
        for name in ("client.admin", "client.rgw.a"):
            self._run("ceph-authtool", ring, "--gen-key", "-n", name,
                      "--cap", "mon", "allow *", "--cap", "osd", "allow *")
        monitors = str(self.dir / "monitors")
        self._run("monmaptool", "--create", "--fsid", self.fsid,
                  "--addv", "a", f"[v2:127.0.0.1:{self.mon_port}/0]", monitors)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, "--keyring", ring)
        self._spawn("mon", "ceph-mon", "-f", "-i", "a")

    def _start_disk(self):
        disk = str(uuid.uuid4())
        key = self._run("ceph-authtool", "--gen-print-key").strip()
        self._run("ceph", "osd", "new", disk, "-i", "-", input=f'{{"cephx_secret":"{key}"}}')
        self._run("ceph-authtool", "--create-keyring", str(self.dir / "osd/keyring"),
                  "-n", "osd.0", "--add-key", key)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._spawn("osd", "ceph-osd", "-f", "-i", "0")

    # ---- Processes ----

    def _environment(self):
        return {**os.environ, "CEPH_CONF": str(self.dir / "ceph.conf")}

    def _run(self, *command, input=None):
        done = subprocess.run(command, env=self._environment(), input=input, text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def _spawn(self, name, *command, environment=None):
        with open(self.dir / f"{name}.out", "ab") as out:
            self.children[name] = subprocess.Popen(
                command, env={**self._environment(), **(environment or {})},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=end_with_parent)

    def _end(self, name):
        """Nothing of it is needed again: its disk is memory."""
        child = self.children.pop(name, None)
        if child is not None:
            child.kill()
            child.wait()

    def _answers(self):
        return answers(self.client())

    def _wait(self, condition, sentence, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            for name, child in self.children.items():
                assert child.poll() is None, f"{name} ended: {self.log(name)}"
            assert time.monotonic() < deadline, f"{sentence}: {self.log('rgw')}"
            time.sleep(0.05)

    def log(self, name):
        return (self.dir / f"{name}.out").read_text()[-3000:]


def main():
    ceph = Ceph(pathlib.Path(sys.argv[1]).resolve())
    begun = time.monotonic()
    try:
        ceph.start()
        print(f"{ceph.endpoint} answers after {time.monotonic() - begun:.1f} s\n"
              f"CA: {ceph.ca}\nAWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}",
              flush=True)
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        ceph.close()


if __name__ == "__main__":
    main()
