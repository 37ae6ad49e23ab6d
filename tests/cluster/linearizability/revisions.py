# SPDX-License-Identifier: Apache-2.0
"""A second opinion, over all keys at once, from the revisions in the answers.

Revisions are the order that the store claims to have had. So there is nothing to search for, only
to look up whether that order is one, whether it agrees with the clock, and whether everybody saw
what had been written by then. This also judges serializable reads: they may be old, but have to
show a state that there was.
"""

import bisect

from .history import DELETE, LOCAL_GET, NEVER, OK, UNKNOWN


def _order_by_clock(ops):
    """Who was called after another had returned has no lower revision; a write has a higher one."""
    known = [op for op in ops
             if op.outcome == OK and op.kind != LOCAL_GET and op.revision is not None]
    calls = sorted(known, key=lambda op: op.call)
    returns = sorted(known, key=lambda op: op.ret)
    latest, at = None, 0
    for op in calls:
        while at < len(returns) and returns[at].ret < op.call:
            if latest is None or returns[at].revision > latest.revision:
                latest = returns[at]
            at += 1
        if latest is not None and op.revision < latest.revision + (1 if op.writes else 0):
            yield (f"{op.key}: {op.client}: {op}: was called after revision {latest.revision} had "
                   f"been answered to {latest.client}: {latest.key}: {latest}")


def _once_each(ops):
    """No two writes have the same revision."""
    writers = {}
    for op in ops:
        if op.outcome == OK and op.writes and op.revision is not None:
            other = writers.setdefault(op.revision, op)
            if other is not op:
                yield f"revision {op.revision} twice: {other.key}: {other}; {op.key}: {op}"


class _Key:
    """The writes of one key by revision, those included that only others saw."""

    def __init__(self, ops):
        self.errors = []
        self.writers = {op.value: op for op in ops if op.value is not None}
        self.unknown_delete = min((op.call for op in ops if op.outcome == UNKNOWN
                                   and op.kind == DELETE), default=NEVER)
        self.values = {}  # by revision
        for op in ops:
            if op.outcome == OK and op.writes and op.revision is not None:
                self.values[op.revision] = None if op.kind == DELETE else op.value
        for op in ops:
            if op.reads and op.seen is not None and op.mod is not None:
                self._learn(op)
        self.revisions = sorted(self.values)

    def _learn(self, op):
        writer = self.writers.get(op.seen)
        if writer is None:
            self.errors.append(f"{op}: nobody wrote that")
        elif not writer.writes:
            self.errors.append(f"{op}: of a write that failed: {writer}")
        elif writer.outcome == OK and writer.revision not in (None, op.mod):
            self.errors.append(f"{op}: was written at {writer.revision}")
        elif writer.call > op.ret:
            self.errors.append(f"{op}: seen before it was written: {writer}")
        elif self.values.setdefault(op.mod, op.seen) != op.seen:
            self.errors.append(f"{op}: {self.values[op.mod]} was written at {op.mod}")

    def judge(self, op):
        """What is wrong with a read, or None."""
        at = bisect.bisect_right(self.revisions, op.revision)
        revision = self.revisions[at - 1] if at else 0
        value = self.values.get(revision)
        if op.seen == value and (op.seen is None or op.mod in (None, revision)):
            return None
        if op.seen is None and self.unknown_delete < op.ret:
            return None
        return f"{op}: at that revision it was {value} (mod {revision})"


def violations(ops):
    """A sentence for each thing that is wrong."""
    found = list(_order_by_clock(ops)) + list(_once_each(ops))
    keys = {}
    for op in ops:
        keys.setdefault(op.key, []).append(op)
    for name, own in keys.items():
        key = _Key(own)
        found += [f"{name}: {error}" for error in key.errors]
        for op in own:
            error = key.judge(op) if op.reads and op.revision is not None else None
            if error is not None:
                found.append(f"{name}: {error}")
    return found
