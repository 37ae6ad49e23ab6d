# SPDX-License-Identifier: Apache-2.0
"""What was planted in a cluster that ships is nowhere to be seen, in no writing that we can think
of, and what is to be ciphertext looks like noise."""
import base64
import collections
import json
import math
import random
import re
import urllib.request

import pytest
from ceph import SECRET_KEY
from etcd3.etcdrpc import rpc_pb2, rpc_pb2_grpc
from fleet import Fleet

NAME = b"patient-MUSTERMANN-4711"
VALUE = b"DIAGNOSIS-GONORRHOEA-"
WINDOW = 64 * 1024
SECTOR = 512


def hexadecimal(chance, size):
    """Four bits a byte: as text is, and zstd cannot make it vanish."""
    return VALUE + chance.randbytes(size // 2).hex().encode()


def fill(node):
    """Returns (revision, bytes of values)."""
    chance = random.Random(11)
    values = [hexadecimal(chance, 3000) for _ in range(900)]
    values += [hexadecimal(chance, 300_000) for _ in range(4)]  # over many pieces of a record
    with node.channel() as channel:
        stub = rpc_pb2_grpc.KVStub(channel)
        calls = [stub.Put.future(rpc_pb2.PutRequest(key=NAME + b"-%d" % i, value=value), timeout=60)
                 for i, value in enumerate(values)]
        revision = max(call.result().header.revision for call in calls)
        stub.DeleteRange(rpc_pb2.DeleteRangeRequest(key=NAME + b"-1"), timeout=20)
    return revision + 1, sum(map(len, values))


def writings(secret):
    """A secret as it is, in hexadecimal, in UTF-16, in base64 at each of its three offsets."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    yield secret.decode().encode("utf-16-le")
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + secret)
        yield text[4:-4]  # the ends depend on the neighbours


def entropy(data):
    """In bits a byte, of single bytes."""
    size = len(data)
    return -sum(count / size * math.log2(count / size)
                for count in collections.Counter(data).values())


def windows(data):
    """Whole ones; what is left at the end says less."""
    return [data[at:at + WINDOW] for at in range(0, len(data) - WINDOW + 1, WINDOW)]


def hexadecimal_sectors(data):
    """Of noise, a byte in sixteen is a digit of hexadecimal; of our values, each."""
    digits = b"0123456789abcdef"
    return [at for at in range(0, len(data), SECTOR)
            if len(data[at:at + SECTOR].translate(None, digits)) < SECTOR // 2
            and len(data) - at >= SECTOR]


def without_padding(data):
    return re.sub(rb"\0{8,}", b"", data)


def sealed(archive):
    """The sealed bytes of all its pieces: docs/formats/archive.md."""
    assert archive[:8] == b"SRARCHIV"
    at = 116 + int.from_bytes(archive[112:116], "big")
    pieces = b""
    last = False
    while not last:
        word = int.from_bytes(archive[at:at + 4], "big")
        last, size = bool(word >> 31), word & 0x7fffffff
        pieces += archive[at + 4:at + 4 + size]
        at += 4 + size + 16
    assert at == len(archive)
    return pieces


class Planted:
    """A fleet that was filled, has shipped it all, said everything about it, and stopped."""

    def __init__(self, fleet):
        self.fleet = fleet
        fleet.start()
        cluster = fleet.cluster
        revision, self.value_bytes = fill(cluster.nodes[0])
        fleet.wait_shipped(revision)
        cluster.strongroom("snapshot", "now")
        self.said = "".join(cluster.strongroom("snapshot", word, *form).stdout
                            for word in ("list", "status") for form in ((), ("--json",)))
        for node in cluster.nodes:
            for page in ("metrics", "status"):
                url = f"http://127.0.0.1:{node.admin_port}/{page}"
                with urllib.request.urlopen(url, timeout=20) as answer:
                    self.said += answer.read().decode()
        self.objects = fleet.objects()
        for node in cluster.nodes:
            assert node.stop() == 0, node.log()

    def files(self):
        """Name and content of all that nodes have written; zeros at the end are left out."""
        for node in self.fleet.cluster.nodes:
            yield str(node.log_path), node.log_path.read_bytes()
            for path in sorted(node.data_dir.rglob("*")):
                if path.is_file():
                    yield str(path), path.read_bytes().rstrip(b"\0")


@pytest.fixture(scope="module")
def planted(new_s3, tmp_path_factory):
    path = tmp_path_factory.mktemp("planted")
    fleet = Fleet(new_s3(path), path)
    try:
        yield Planted(fleet)
    finally:
        fleet.cluster.close()


def test_nothing_that_was_planted_is_found(planted):
    fleet = planted.fleet
    private = fleet.recovery_key.read_text().split()[1].encode()
    secrets = [NAME, NAME[8:18], VALUE, VALUE[:9], SECRET_KEY.encode(), SECRET_KEY[:16].encode(),
               private, base64.b64decode(private)[:32].hex().encode(),
               *(node.kek_path.read_bytes().strip() for node in fleet.cluster.nodes)]
    needles = {writing for secret in secrets for writing in writings(secret)}
    needles |= {bytes.fromhex(secret.decode()) for secret in secrets
                if re.fullmatch(rb"[0-9a-f]{64}", secret)}
    places = {**planted.objects, "what was said": planted.said.encode()}
    places |= {f"the name {name}": name.encode() for name in planted.objects}
    places |= dict(planted.files())
    found = [(name, needle) for name, content in places.items() for needle in needles
             if needle in content]
    assert found == []
    # What was searched is not nothing, and the search finds what is there.
    assert sum(name.endswith(".seg") for name in places) >= 3
    assert sum(name.endswith("/data.mdb") for name in places) == 3
    assert all(b"msg=" in content for name, content in places.items() if name.endswith("/log"))
    assert b"revision" in places["what was said"]
    assert json.dumps(planted.said).count("SHA256:") >= 2


def test_archives_are_noise(planted):
    archives = {name: sealed(content) for name, content in planted.objects.items()
                if name.endswith(".sra")}
    assert {name.split("/")[-2] for name in archives} == {"snapshots", "changes"}
    largest = max(map(len, archives.values()))
    assert largest > planted.value_bytes * 0.4  # half a byte of each is news
    for name, content in archives.items():
        assert not content.startswith(b"\x28\xb5\x2f\xfd"), f"{name}: zstd in the clear"
        assert hexadecimal_sectors(content) == [], name
        assert all(entropy(window) > 7.99 for window in windows(content)), name


def test_log_segments_are_noise(planted):
    for node in planted.fleet.cluster.nodes:
        content = b"".join(path.read_bytes().rstrip(b"\0") for path in
                           sorted((node.data_dir / "log").glob("*.seg")))
        assert hexadecimal_sectors(content) == []
    looked_at = windows(without_padding(content))  # frames begin at sectors
    assert len(looked_at) * WINDOW > planted.value_bytes * 0.9
    assert all(entropy(window) > 7.8 for window in looked_at)


def test_records_are_noise(planted):
    for node in planted.fleet.cluster.nodes:
        content = (node.data_dir / "state" / "data.mdb").read_bytes()
        assert hexadecimal_sectors(content) == []
    # Beside records there are pages of an index: small numbers, and names that are hashed.
    noise = [window for window in windows(without_padding(content)) if entropy(window) > 7.9]
    assert len(noise) * WINDOW > planted.value_bytes * 0.9


def test_the_looks_would_find_them():
    plain = hexadecimal(random.Random(1), 2 * WINDOW)
    assert len(hexadecimal_sectors(plain)) == len(plain) // SECTOR
    assert all(entropy(window) < 4.1 for window in windows(plain))
    noise = random.Random(1).randbytes(4 * WINDOW)
    hidden = noise[:1000] + plain[:1024] + noise[2024:]
    assert hexadecimal_sectors(noise) == [] and len(hexadecimal_sectors(hidden)) >= 1
    assert all(entropy(window) > 7.99 for window in windows(noise))
    for secret in (NAME, VALUE):
        for offset in range(3):
            coded = base64.b64encode(b"x" * offset + secret + b"yz")
            assert any(writing in coded for writing in writings(secret))
