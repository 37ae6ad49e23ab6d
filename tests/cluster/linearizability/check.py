#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Judges a whole history: tests/cluster/linearizability/check.py HISTORY.jsonl

Prints what was judged and what is wrong, of the keys that fail the one with the smallest history.
Exit code 0: linearizable; 1: not, or undecided.
"""

import collections
import pathlib
import sys
import time

if __package__ in (None, ""):
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    __package__ = "linearizability"  # pylint: disable=redefined-builtin
    import linearizability  # noqa: F401  pylint: disable=unused-import

from linearizability import revisions, search  # noqa: E402
from linearizability.history import FAILED, OK, UNKNOWN, History, describe  # noqa: E402
from linearizability.minimize import minimize  # noqa: E402
from linearizability.model import ANYTHING  # noqa: E402

SHOWN_MAX = 10


class Verdict:
    """What came out: good, and a text for people."""

    def __init__(self, ops):
        self.counts = collections.Counter(op.outcome for op in ops)
        self.failing = {}  # by key: its operations
        self.undecided = {}  # by key: why
        self.revisions = []
        self.keys = 0
        self.seconds = 0.0

    @property
    def good(self):
        return not self.failing and not self.undecided and not self.revisions

    def summary(self):
        return (f"{sum(self.counts.values())} operations on {self.keys} keys "
                f"({self.counts[OK]} ok, {self.counts[FAILED]} failed, "
                f"{self.counts[UNKNOWN]} unknown) judged in {self.seconds:.1f} s: "
                + ("linearizable" if self.good else
                   f"{len(self.failing)} keys not linearizable, {len(self.undecided)} undecided, "
                   f"{len(self.revisions)} revisions wrong"))

    def text(self):
        parts = [self.summary()]
        smallest = None
        for key, ops in self.failing.items():
            initial, least = minimize(ops)
            if smallest is None or len(least) < len(smallest[2]):
                smallest = key, initial, least
        if smallest is not None:
            key, initial, least = smallest
            parts.append(f"no order explains this of {key}, whatever it held before:"
                         if initial is ANYTHING else f"no order explains this of {key}:")
            parts.append(describe(least))
        parts += [f"{key}: {why}" for key, why in list(self.undecided.items())[:SHOWN_MAX]]
        parts += self.revisions[:SHOWN_MAX]
        return "\n".join(parts)


def check(ops, steps_max=search.STEPS_MAX):
    """The verdict over operations of any number of keys."""
    ops = list(ops)
    verdict = Verdict(ops)
    begun = time.monotonic()
    keys = History(ops).by_key()
    verdict.keys = len(keys)
    for key, own in keys.items():
        try:
            if not search.is_linearizable(own, steps_max=steps_max):
                verdict.failing[key] = own
        except search.Undecided as why:
            verdict.undecided[key] = why
    verdict.revisions = revisions.violations(ops)
    verdict.seconds = time.monotonic() - begun
    return verdict


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    verdict = check(History.load(sys.argv[1]).ops)
    print(verdict.text())
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
