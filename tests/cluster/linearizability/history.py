# SPDX-License-Identifier: Apache-2.0
"""What clients did and saw.

An operation is on one key. Its outcome is
  ok       it was answered: it took effect between call and return, and the answer is what it saw;
  failed   it is certain that it had no effect, and will have none;
  unknown  it may have taken effect at any time after its call, or may yet, or never will.

Values are unique: no two operations of a history write the same one, so that a value that is read
says who wrote it. Times are of CLOCK_MONOTONIC, in nanoseconds.
"""

import json
import threading
import time

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"

GET = "get"          # linearizable; saw (value, mod, version), or (None, 0, 0)
LOCAL_GET = "sget"   # serializable: may be old, but is a state that there was
PUT = "put"          # writes value
DELETE = "delete"    # deleted: how many keys there were, 0 or 1
CAS = "cas"          # writes value if the key is as expected, otherwise sees what it is

NEVER = 1 << 62      # when what is unknown returns

FIELDS = ("client", "kind", "key", "call", "ret", "outcome", "value", "expect", "succeeded",
          "deleted", "seen", "mod", "version", "revision", "note")


class Op:
    """One call. Which fields mean something depends on kind and outcome:

    value      PUT, CAS: what it writes
    expect     CAS: ("mod", revision), 0 for a key that is not there, or ("value", value)
    succeeded  CAS, ok: whether the key was as expected
    deleted    DELETE, ok
    seen, mod, version   GET, LOCAL_GET and CAS that did not succeed, ok: the key as it was
    revision   ok: the store's revision in the answer's header, or None if not recorded
    note       for people: what error there was, which node was asked
    """

    __slots__ = FIELDS

    def __init__(self, client, kind, key, call=0, ret=NEVER, outcome=UNKNOWN, **fields):
        for name in FIELDS[6:]:
            setattr(self, name, fields.pop(name, None))
        assert not fields, fields
        self.client, self.kind, self.key = client, kind, key
        self.call, self.ret, self.outcome = call, ret, outcome

    @property
    def writes(self):
        """It has changed the key, or, unknown, may have."""
        if self.outcome == FAILED:
            return False
        if self.outcome == UNKNOWN:
            return self.kind in (PUT, DELETE, CAS)
        return (self.kind == PUT or (self.kind == CAS and bool(self.succeeded))
                or (self.kind == DELETE and self.deleted > 0))

    @property
    def reads(self):
        """It has been told what the key was."""
        return self.outcome == OK and (self.kind in (GET, LOCAL_GET)
                                       or (self.kind == CAS and not self.succeeded))

    def __str__(self):
        what = self.kind
        if self.kind == CAS:
            what += f" if {self.expect[0]} is {self.expect[1]}:"
        if self.kind in (PUT, CAS):
            what += f" {self.value}"
        if self.outcome != OK:
            what += f" -> {self.outcome}"
        elif self.reads:
            what += f" -> {self.seen} (mod {self.mod}, version {self.version})"
        elif self.kind == DELETE:
            what += f" -> {self.deleted} deleted"
        else:
            what += " -> ok"
        at = f" at revision {self.revision}" if self.revision is not None else ""
        return what + at + (f" [{self.note}]" if self.note else "")


class History:
    """Operations of many threads. Each thread calls begin() and one of the ends, in turn."""

    def __init__(self, ops=()):
        self.ops = list(ops)
        self.lock = threading.Lock()

    def begin(self, client, kind, key, **fields):
        op = Op(client, kind, key, call=time.monotonic_ns(), **fields)
        with self.lock:
            self.ops.append(op)
        return op

    @staticmethod
    def ok(op, **answer):
        """op was answered just now."""
        ret = time.monotonic_ns()
        for name, value in answer.items():
            setattr(op, name, value)
        # Outcome last: who looks on meanwhile sees an unknown one, or all of it.
        op.ret, op.outcome = ret, OK

    @staticmethod
    def failed(op, note=None):
        op.note, op.ret, op.outcome = note, time.monotonic_ns(), FAILED

    @staticmethod
    def unknown(op, note=None):
        op.note = note

    def save(self, path):
        with open(path, "w", encoding="utf-8") as file:
            for op in self.ops:
                fields = {name: getattr(op, name) for name in FIELDS}
                file.write(json.dumps({name: value for name, value in fields.items()
                                       if value is not None}) + "\n")

    @classmethod
    def load(cls, path):
        ops = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                fields = json.loads(line)
                if "expect" in fields:
                    fields["expect"] = tuple(fields["expect"])
                ops.append(Op(**fields))
        return cls(ops)

    def by_key(self):
        keys = {}
        for op in self.ops:
            keys.setdefault(op.key, []).append(op)
        return keys


def describe(ops):
    """A table for people: times in ms since the first call, one operation a line."""
    ops = sorted(ops, key=lambda op: op.call)
    start = ops[0].call if ops else 0
    lines = [f"{'call':>10} {'return':>10}  client"]
    for op in ops:
        ret = f"{(op.ret - start) / 1e6:10.3f}" if op.ret < NEVER else f"{'-':>10}"
        lines.append(f"{(op.call - start) / 1e6:10.3f} {ret}  {op.client}: {op}")
    return "\n".join(lines)
