# SPDX-License-Identifier: Apache-2.0
"""The checker on histories too large for the eye: right ones, and with one fault each."""

import itertools
import random
import time

import pytest

from linearizability import search
from linearizability.check import check
from linearizability.generate import FAULTS, generate
from linearizability.history import CAS, GET, NEVER, OK, PUT, UNKNOWN, Op
from linearizability.minimize import minimize
from linearizability.model import INITIAL, step

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clients", [1, 8, 40])
def test_right(seed, clients):
    ops, _ = generate(seed, clients=clients)
    verdict = check(ops)
    assert verdict.good, verdict.text()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault(fault, seed):
    ops, key = generate(seed, fault=fault)
    assert key is not None, "the fault never happened"
    verdict = check(ops)
    assert key in verdict.failing, verdict.summary()
    assert set(verdict.failing) == {key}
    initial, least = minimize(verdict.failing[key])
    assert 0 < len(least) < len(verdict.failing[key]) / 2
    assert not search.is_linearizable(least, initial)


def test_values_alone_are_enough_for_what_they_show():
    """Without revisions and versions the search has to try, and still finds it."""
    found = 0
    for seed in SEEDS:
        ops, _ = generate(seed, clients=6, count=400, lost=0.01, revisions=False)
        assert check(ops).good
        ops, key = generate(seed, clients=6, count=400, lost=0.01, fault="stale read",
                            revisions=False)
        failing = set(check(ops).failing)
        assert failing <= {key}
        found += len(failing)
    # Now and then a lost write of that value, coming late, is as good an explanation.
    assert found >= len(SEEDS) - 1


def by_trying_all(ops):
    """The definition, word by word: some order that agrees with time, and in which all that is
    unknown may be left out."""
    known = [op for op in ops if op.outcome == OK]
    unknown = [op for op in ops if op.outcome == UNKNOWN and op.writes]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations(known + list(chosen)):
                if explains(order):
                    return True
    return False


def explains(order):
    state = INITIAL
    earliest_return = NEVER
    for op in reversed(order):
        if op.call > earliest_return:
            return False
        earliest_return = min(earliest_return, op.ret)
    for op in order:
        state = step(state, op)
        if state is None:
            return False
    return True


def small_history(chooser):
    """Seven calls with made-up answers: right about as often as wrong."""
    ops = []
    for i in range(7):
        call = chooser.randrange(20)
        kind = chooser.choices((GET, PUT, CAS), (4, 4, 2))[0]
        op = Op(f"c{i}", kind, "k", call, call + chooser.randrange(1, 12), OK)
        if kind in (PUT, CAS):
            op.value = f"v{i}"
        if kind == CAS:
            op.expect, op.succeeded = ("value", f"v{chooser.randrange(7)}"), True
        if kind != GET and chooser.random() < 0.3:
            op.outcome, op.ret = UNKNOWN, NEVER
        ops.append(op)
    values = [op.value for op in ops if op.value is not None] + [None]
    for op in ops:
        if op.kind == GET:
            op.seen = chooser.choice(values)
            if op.seen is None:
                op.mod = op.version = 0
            elif chooser.random() < 0.4:
                op.version = chooser.randrange(1, 4)
    return ops


def test_the_search_agrees_with_the_definition():
    chooser = random.Random(7)
    verdicts = {True: 0, False: 0}
    for _ in range(400):
        ops = small_history(chooser)
        expected = by_trying_all(ops)
        assert search.is_linearizable(ops) == expected, [str(op) for op in ops]
        verdicts[expected] += 1
    print(verdicts)
    assert min(verdicts.values()) > 40


def test_a_hundred_thousand_operations():
    ops, _ = generate(1, clients=64, keys=200, count=100_000, lost=0.005)
    begun = time.monotonic()
    verdict = check(ops)
    print(f"{verdict.summary()}; {time.monotonic() - begun:.1f} s")
    assert verdict.good, verdict.text()
    ops, key = generate(2, clients=64, keys=200, count=100_000, lost=0.005, fault="stale read")
    assert set(check(ops).failing) == {key}
