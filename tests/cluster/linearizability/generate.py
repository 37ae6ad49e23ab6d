# SPDX-License-Identifier: Apache-2.0
"""Histories of a store that is right, or wrong once in a way of our choosing.

Clients call at random; each call takes effect at a random moment before it returns, or, when its
answer is lost, at a random later one, or never. Time is a number, so that a seed is a history.
"""

import heapq
import random

from .history import CAS, DELETE, FAILED, GET, LOCAL_GET, NEVER, OK, PUT, UNKNOWN, Op

MS = 1_000_000

# Wrong in these ways, once, at about the middle:
FAULTS = (
    "stale read",           # a read sees what the key was before it was called
    "lost update",          # a write is acknowledged and never happens
    "double apply",         # a write happens again, later
    "double apply at once",  # a write happens twice, and nothing in between
    "seen before written",  # a read sees what is called only after it has returned
    "failed write happens",
    "two winners",          # a compare-and-swap does not look
    "wrong loser",          # a compare-and-swap fails though all was as expected
    "lost delete",
    "dirty read",           # a read sees a write that then never happens
)


class _Store:
    def __init__(self):
        self.revision = 1
        self.keys = {}    # key: (value, version, mod)
        self.before = {}  # key: [(until when it was so, state)]

    def get(self, key):
        return self.keys.get(key, (None, 0, 0))

    def set(self, key, value, now):
        old = self.get(key)
        self.before.setdefault(key, []).append((now, old))
        self.revision += 1
        self.keys[key] = ((value, old[1] + 1, self.revision) if value is not None
                          else (None, 0, 0))


class _Generator:
    def __init__(self, seed, clients, keys, count, fault, lost, revisions):
        self.random = random.Random(seed)
        self.keys = [f"k{i}" for i in range(keys)]
        self.count, self.fault, self.lost = count, fault, lost
        self.revisions = revisions
        self.store = _Store()
        self.ops, self.known = [], {}
        self.events, self.serial = [], 0
        self.fault_done = None  # the key that it hit
        for i in range(clients):
            self.at(self.random.uniform(0, 5), self.call, f"c{i}")

    def at(self, ms, function, *arguments):
        self.serial += 1
        heapq.heappush(self.events, (ms, self.serial, function, arguments))

    def run(self):
        while self.events:
            now, _, function, arguments = heapq.heappop(self.events)
            function(now, *arguments)
        end = max((op.ret for op in self.ops if op.ret < NEVER), default=0)
        for i, key in enumerate(self.keys):  # what it all has come to
            op = Op("end", GET, key, end + MS * (2 * i + 1), end + MS * (2 * i + 2))
            self.answer(op, op.ret / MS)
            self.ops.append(op)
        return self.ops

    # ---- A call ----

    def call(self, now, client):
        if len(self.ops) >= self.count:
            return
        key = self.random.choice(self.keys)
        # Beside a delete, which begins versions anew, other faults may leave no trace.
        deletes = 7 if self.fault in (None, "lost delete") else 0
        kind = self.random.choices((GET, PUT, CAS, DELETE, LOCAL_GET), (40, 25, 25, deletes, 3))[0]
        op = Op(client, kind, key, call=int(now * MS))
        if kind in (PUT, CAS):
            op.value = f"v{len(self.ops)}"
        if kind == CAS:
            value, _, mod = self.known.get(key, (None, 0, 0))
            by_revision = value is None or (self.revisions and self.random.random() < 0.7)
            op.expect = ("mod", mod) if by_revision else ("value", value)
        self.ops.append(op)
        effect = now + self.random.expovariate(1 / 3)
        may_be_lost = op.kind != LOCAL_GET and (op.kind != DELETE or self.fault is None)
        if self.fault == "double apply at once":
            may_be_lost = op.key != self.keys[0]  # where it could be the second one
        if may_be_lost and self.random.random() < self.lost:
            op.note = "lost"
            if self.random.random() < 0.6:
                self.at(now + self.random.expovariate(1 / 200), self.take_effect, op)
            client += "'"
            self.at(now + 50, self.call, client)
        elif self.random.random() < self.lost and op.writes:
            self.at(effect, self.fail, op)
        else:
            self.at(effect, self.take_effect, op)

    def fail(self, now, op):
        op.outcome, op.ret = FAILED, int(now * MS)
        if self.is_hit("failed write happens", op.kind == PUT, op):
            self.at(now + 1, lambda later: self.store.set(op.key, op.value, later))
        self.at(now + 1, self.call, op.client)

    def take_effect(self, now, op):
        self.answer(op, now)
        if op.note == "lost":
            op.outcome, op.ret, op.revision = UNKNOWN, NEVER, None
            op.seen = op.mod = op.version = op.succeeded = op.deleted = None
            return
        ret = now + self.random.expovariate(1 / 3)
        op.ret = int(ret * MS)
        self.at(ret, self.returned, op)

    def returned(self, now, op):
        if op.reads:
            self.known[op.key] = (op.seen, op.version, op.mod)
        self.call(now, op.client)

    # ---- What the store does, rightly or not ----

    def is_hit(self, fault, possible, op):
        if (self.fault != fault or not possible or self.fault_done is not None
                or len(self.ops) < self.count // 2 or op.note == "lost"):
            return False
        self.fault_done = op.key
        return True

    def see(self, op, state):
        op.seen, op.version, op.mod = state

    def answer(self, op, now):
        op.outcome = OK
        store, state = self.store, self.store.get(op.key)
        if op.kind in (GET, LOCAL_GET):
            self.see(op, self.wrong_sight(op) or state)
        elif op.kind == PUT:
            self.put(op, now)
        elif op.kind == DELETE:
            op.deleted = int(state[0] is not None)
            if op.deleted and not self.is_hit("lost delete", True, op):
                store.set(op.key, None, now)
        else:
            self.cas(op, state, now)
        op.revision = store.revision

    def put(self, op, now):
        if self.is_hit("lost update", True, op):
            self.store.revision += 1
            return
        self.store.set(op.key, op.value, now)
        if self.is_hit("double apply at once", op.key == self.keys[0], op):
            self.store.set(op.key, op.value, now)
        elif self.is_hit("double apply", True, op):
            self.at(now + 40, lambda later: self.store.set(op.key, op.value, later))

    def cas(self, op, state, now):
        what, expected = op.expect
        op.succeeded = expected == (state[2] if what == "mod" else state[0])
        if self.is_hit("two winners", not op.succeeded, op):
            op.succeeded = True
        elif self.is_hit("wrong loser", op.succeeded, op):
            op.succeeded = False
        if op.succeeded:
            self.store.set(op.key, op.value, now)
        else:
            self.see(op, state)

    def wrong_sight(self, op):
        """What a get must not see, at the time of the fault."""
        if op.kind != GET:
            return None
        if self.fault == "stale read" and self.fault_done is None:
            older = [state for until, state in self.store.before.get(op.key, ())
                     if (until + 40) * MS < op.call]  # its end has been acknowledged by now
            return older[-1] if self.is_hit("stale read", older, op) else None
        state = self.store.get(op.key)
        if self.is_hit("dirty read", True, op):
            return (f"dirty{op.call}", state[1] + 1, self.store.revision + 1)
        if self.is_hit("seen before written", True, op):
            later = f"v{len(self.ops) + 50}"
            self.keys = [op.key]  # so that somebody does write it, here
            return (later, state[1] + 1, self.store.revision + 1)
        return None


def generate(seed, clients=8, keys=4, count=1000, fault=None, lost=0.02, revisions=True):
    """(operations, key that the fault hit or None). Without revisions, only values are seen."""
    assert fault is None or fault in FAULTS
    generator = _Generator(seed, clients, keys, count, fault, lost, revisions)
    ops = generator.run()
    if not revisions:
        for op in ops:
            op.revision = op.mod = op.version = None
    return ops, generator.fault_done
