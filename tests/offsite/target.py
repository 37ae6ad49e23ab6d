# SPDX-License-Identifier: Apache-2.0
"""node/offsite/target.h from the outside: target_tool, and what it says."""
import dataclasses
import os
import pathlib
import subprocess

from ceph import ACCESS_KEY, REGION, SECRET_KEY

BUILD = pathlib.Path(os.environ.get("STRONGROOM_BUILD",
                                    pathlib.Path(__file__).resolve().parents[2] / "build/release"))
TOOL = BUILD / "tests/offsite/target_tool"
PREFIX = "cluster-a/db"


@dataclasses.dataclass
class Object:
    name: str
    size: int
    modified_ms: int
    retain_until_ms: int


class Outcome:
    def __init__(self, text):
        self.text = text
        lines = text.splitlines()
        self.objects = []
        for number, line in enumerate(lines):
            kind, *fields = line.split(" ")
            if kind == "object":
                self.objects.append(Object(fields[0], *map(int, fields[1:])))
            elif kind == "cleaned":
                self.cleaned = int(fields[0])
            elif kind == "stats":
                self.requests, self.retries, self.sent, self.received = map(int, fields)
                self.status = lines[number + 1]
                self.sentence = "\n".join(lines[number + 2:])
                break

    @property
    def names(self):
        return [an_object.name for an_object in self.objects]


def start_tool(url, *arguments, environment=None, **settings):
    command = [TOOL, url, *(f"{name}={value}" for name, value in settings.items()
                            if value is not None),
               *map(str, arguments)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**clean, **(environment or {})})


def outcome_of(process, timeout=120):
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode in (0, 1) and not errors, f"{process.returncode}: {out}{errors}"
    outcome = Outcome(out)
    for secret in (SECRET_KEY, SECRET_KEY[:12]):
        assert secret not in out
    return outcome


class S3Target:
    def __init__(self, ceph, bucket, directory):
        self.ceph, self.bucket, self.dir = ceph, bucket, pathlib.Path(directory)
        self.client = ceph.client()
        self.url = f"s3://{bucket}/{PREFIX}"
        self.settings = {"endpoint": ceph.endpoint, "region": REGION, "ca_file": ceph.ca,
                         "attempts": 4}
        self.environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

    def start(self, *arguments, environment=None, url=None, **settings):
        return start_tool(url or self.url, *arguments,
                          environment=self.environment if environment is None else environment,
                          **{**self.settings, **settings})

    def run(self, *arguments, **more):
        return outcome_of(self.start(*arguments, **more))

    def file(self, name, content):
        path = self.dir / name
        path.write_bytes(content)
        return path

    def put(self, name, content, *arguments, **more):
        return self.run("put", name, self.file("put", content), *arguments, **more)

    def get(self, name, *arguments, **more):
        """(outcome, bytes)"""
        path = self.dir / "got"
        outcome = self.run("get", name, path, *arguments, **more)
        return outcome, path.read_bytes()

    def key(self, name):
        return f"{PREFIX}/{name}"

    def stored(self, name):
        """As the independent client sees it."""
        return self.client.read(self.bucket, self.key(name))

    def s3cmd(self, *arguments):
        done = subprocess.run(
            ["s3cmd", "-c", "/dev/null", f"--access_key={ACCESS_KEY}",
             f"--secret_key={SECRET_KEY}", f"--host=localhost:{self.ceph.port}",
             f"--host-bucket=localhost:{self.ceph.port}", f"--region={REGION}",
             f"--ca-certs={self.ceph.ca}", *map(str, arguments)],
            capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout
