# SPDX-License-Identifier: Apache-2.0
"""The smallest part of a failing history that still fails.

Each step only ever forgets something that was known, so that what is left over fails because the
whole does: a part that fails for want of what was cut off would prove nothing. Forgotten may be
  - the end: what has not returned by then is unknown;
  - the beginning: what had returned by then is gone, and the key may be in any state;
  - single reads.
"""

from . import search
from .history import NEVER, OK, UNKNOWN, Op, FIELDS
from .model import ANYTHING, INITIAL


def _fails(ops, initial):
    try:
        return not search.is_linearizable(ops, initial, steps_max=500_000)
    except search.Undecided:
        return False


def _as_unknown(op):
    copy = Op(**{name: getattr(op, name) for name in FIELDS})
    copy.ret, copy.outcome, copy.revision, copy.succeeded, copy.deleted = (
        NEVER, UNKNOWN, None, None, None)
    return copy


def until(ops, end):
    """What was known at the time end."""
    return search.relevant(op if op.outcome != OK or op.ret <= end else _as_unknown(op)
                           for op in ops if op.call <= end)


def since(ops, begin):
    """Without what had returned before begin."""
    return [op for op in ops if op.outcome != OK or op.ret >= begin]


def _first(candidates, fails):
    """The first of candidates that fails, when all behind it do so too; the last does."""
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if fails(candidates[middle]):
            high = middle
        else:
            low = middle + 1
    return candidates[low]


def minimize(ops):
    """(initial state, operations): ops, all of one key, fail, and so do these."""
    ops = search.relevant(ops)
    returns = sorted(op.ret for op in ops if op.outcome == OK)
    ops = until(ops, _first(returns, lambda end: _fails(until(ops, end), INITIAL)))
    initial = INITIAL
    begins = sorted((op.ret + 1 for op in ops if op.outcome == OK), reverse=True) + [0]
    if _fails(ops, ANYTHING):
        initial = ANYTHING
        ops = since(ops, _first(begins, lambda begin: _fails(since(ops, begin), ANYTHING)))
    for op in list(ops):
        # What is unknown and not needed is noise as well, but its absence would prove nothing.
        if op.reads:
            rest = [other for other in ops if other is not op]
            if _fails(rest, initial):
                ops = rest
    return initial, ops
