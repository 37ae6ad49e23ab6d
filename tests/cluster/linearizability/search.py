# SPDX-License-Identifier: Apache-2.0
"""Wing & Gong's search for an order of one key's operations, with Lowe's memory of dead ends.

An operation may come next when no other that is still to come had returned before it was called.
The search takes one, asks the model, goes on, and goes back when nothing fits. (What was taken,
state) is remembered: to be there once more, by another order, is no news.

Two things keep it fast without changing what it finds:
  - it tries first what has the lower revision, which nearly always is right;
  - unknown puts that nobody ever heard of, and unknown deletes, are alike but for when they were
    called; of each sort only the one that was called first may come next.
"""

from .history import CAS, DELETE, LOCAL_GET, NEVER, OK, PUT, UNKNOWN
from .model import INITIAL, step

STEPS_MAX = 5_000_000

UNHEARD = "(a value that nobody saw)"


class Undecided(Exception):
    """The search was given up: no answer is neither a good one nor a bad one."""


def relevant(ops):
    """What has to be explained, or may explain it, in the order of calls. Failed writes are in no
    explanation; reads without an answer need none."""
    return sorted((op for op in ops if (op.outcome == OK and op.kind != LOCAL_GET)
                   or (op.outcome == UNKNOWN and op.writes)), key=lambda op: op.call)


def _heard_of(ops):
    """Values that anybody saw or expected, with the revision they were seen at."""
    values = {}
    for op in ops:
        if op.reads and op.seen is not None:
            values[op.seen] = op.mod
        if op.kind == CAS and op.expect[0] == "value":
            values.setdefault(op.expect[1], None)
    return values


class _Search:
    def __init__(self, ops, initial):
        self.ops = ops
        self.state = initial
        self.calls = [op.call for op in ops]
        self.rets = [op.ret if op.outcome == OK else NEVER for op in ops]
        heard = _heard_of(ops)
        self.order = [self._order_of(op, heard) for op in ops]
        self.sorts = [self._sort_of(op, heard) for op in ops]
        # Those that are still to come, as a list linked by index; count is both ends of it.
        count = len(ops)
        self.next = list(range(1, count + 1)) + [0]
        self.previous = [count] + list(range(count))
        self.to_explain = sum(op.outcome == OK for op in ops)
        self.deepest = 0

    @staticmethod
    def _order_of(op, heard):
        """(revision, reads behind the write they see); what has none is tried last."""
        revision = op.revision
        if op.outcome == UNKNOWN:
            revision = heard.get(op.value)
        return (revision if revision is not None else NEVER, 0 if op.writes else 1, op.call)

    @staticmethod
    def _sort_of(op, heard):
        if op.outcome != UNKNOWN:
            return None
        if op.kind == PUT and op.value not in heard:
            return PUT
        return DELETE if op.kind == DELETE else None

    def _choices(self):
        """Which may come next, the likeliest last."""
        end = len(self.ops)
        choices, sorts, first_return = [], set(), NEVER
        i = self.next[end]
        while i != end and self.calls[i] <= first_return:
            sort = self.sorts[i]
            if sort is None or sort not in sorts:
                choices.append(i)
                sorts.add(sort)
            first_return = min(first_return, self.rets[i])
            i = self.next[i]
        choices.sort(key=self.order.__getitem__, reverse=True)
        return choices

    def _take(self, i):
        self.next[self.previous[i]] = self.next[i]
        self.previous[self.next[i]] = self.previous[i]
        self.to_explain -= self.ops[i].outcome == OK

    def _put_back(self, i):
        self.next[self.previous[i]] = i
        self.previous[self.next[i]] = i
        self.to_explain += self.ops[i].outcome == OK

    def _step(self, i):
        state = step(self.state, self.ops[i])
        if state is not None and self.sorts[i] == PUT:
            state = (UNHEARD, *state[1:])
        return state

    def run(self, steps_max):
        """The indexes in an order that explains all, or None when there is none."""
        taken, path, seen = 0, [], set()
        levels = [self._choices()]
        steps = 0
        while self.to_explain > 0:
            if not levels[-1]:
                levels.pop()
                if not path:
                    return None
                i, self.state = path.pop()
                taken &= ~(1 << i)
                self._put_back(i)
                continue
            i = levels[-1].pop()
            steps += 1
            if steps > steps_max:
                raise Undecided(f"gave up after {steps_max} steps over {len(self.ops)} operations")
            state = self._step(i)
            if state is None:
                continue
            now = (taken | 1 << i, state)
            if now in seen:
                continue
            seen.add(now)
            path.append((i, self.state))
            taken, self.state = now
            self._take(i)
            levels.append(self._choices())
        return [i for i, _ in path]


def explain(ops, initial=INITIAL, steps_max=STEPS_MAX):
    """An order in which ops (all of one key) can have taken effect, or None when there is none.
    Raises Undecided."""
    ops = relevant(ops)
    order = _Search(ops, initial).run(steps_max)
    return None if order is None else [ops[i] for i in order]


def is_linearizable(ops, initial=INITIAL, steps_max=STEPS_MAX):
    return explain(ops, initial, steps_max) is not None
