# SPDX-License-Identifier: Apache-2.0
"""The checker on histories small enough to be judged by eye."""

import pytest

from linearizability.check import check
from linearizability.history import (CAS, DELETE, FAILED, GET, LOCAL_GET, NEVER, OK, PUT, UNKNOWN,
                                     History, Op)
from linearizability.minimize import minimize
from linearizability.model import ANYTHING
from linearizability.revisions import violations
from linearizability.search import Undecided, explain, is_linearizable


def op(kind, call, ret, client="c", outcome=OK, key="k", **fields):
    return Op(client, kind, key, call, ret, outcome, **fields)


def put(value, call, ret, **fields):
    return op(PUT, call, ret, value=value, **fields)


def lost_put(value, call):
    return op(PUT, call, NEVER, outcome=UNKNOWN, value=value)


def get(seen, call, ret, **fields):
    return op(GET, call, ret, seen=seen, **fields)


def cas(expected, value, call, ret, won, **fields):
    return op(CAS, call, ret, expect=("value", expected), value=value, succeeded=won, **fields)


GOOD = {
    "nothing": [],
    "one after another": [get(None, 0, 1), put("a", 2, 3), get("a", 4, 5), put("b", 6, 7),
                          get("b", 8, 9)],
    "a read during a write sees the old": [put("a", 0, 1), put("b", 2, 9), get("a", 3, 4)],
    "a read during a write sees the new": [put("a", 0, 1), put("b", 2, 9), get("b", 3, 4)],
    "old, then new": [put("a", 0, 1), put("b", 2, 9), get("a", 3, 4), get("b", 5, 6)],
    "writes at once, seen in the other order": [put("a", 0, 5), put("b", 1, 4), get("b", 6, 7),
                                                get("b", 8, 9)],
    "touching in time is at once": [put("a", 0, 5), get(None, 5, 6)],
    "unknown and never happened": [put("a", 0, 1), lost_put("b", 2), get("a", 3, 4)],
    "unknown and happened": [put("a", 0, 1), lost_put("b", 2), get("b", 3, 4)],
    "unknown and happened late": [put("a", 0, 1), lost_put("b", 2), get("a", 3, 4),
                                  put("c", 5, 6), get("c", 7, 8), get("b", 9, 10)],
    "failed": [put("a", 0, 1), put("b", 2, 3, outcome=FAILED), get("a", 4, 5)],
    "deleted": [put("a", 0, 1), op(DELETE, 2, 3, deleted=1), get(None, 4, 5),
                op(DELETE, 6, 7, deleted=0)],
    "unknown delete": [put("a", 0, 1), op(DELETE, 2, NEVER, outcome=UNKNOWN), get("a", 3, 4),
                       get(None, 5, 6)],
    "one winner": [put("a", 0, 1), cas("a", "b", 2, 8, True), cas("a", "c", 3, 9, False, seen="b"),
                   get("b", 10, 11)],
    "unknown winner": [put("a", 0, 1), cas("a", "b", 2, NEVER, None, outcome=UNKNOWN),
                       get("a", 3, 4), get("b", 5, 6)],
    "versions": [put("a", 0, 1, revision=2), put("b", 2, 3, revision=3),
                 get("b", 4, 5, mod=3, version=2, revision=5)],
    "a lost answer, with the version that shows it": [
        put("a", 0, 1, revision=2), lost_put("b", 2),
        put("c", 3, 4, revision=4), get("c", 5, 6, mod=4, version=3, revision=4)],
    "a lost answer, with the version that it never happened": [
        put("a", 0, 1, revision=2), lost_put("b", 2),
        put("c", 3, 4, revision=3), get("c", 5, 6, mod=3, version=2, revision=3)],
    "deleted and made anew": [put("a", 0, 1, revision=2), op(DELETE, 2, 3, deleted=1, revision=3),
                              put("b", 4, 5, revision=4),
                              get("b", 6, 7, mod=4, version=1, revision=4)],
    "by revision": [put("a", 0, 1, revision=2),
                    op(CAS, 2, 3, expect=("mod", 2), value="b", succeeded=True, revision=3),
                    op(CAS, 4, 5, expect=("mod", 2), value="c", succeeded=False, revision=3,
                       seen="b", mod=3, version=2)],
    "made if it is not there": [op(CAS, 2, 3, expect=("mod", 0), value="b", succeeded=True)],
}

BAD = {
    "a stale read": [put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)],
    "a read of nothing after a write": [put("a", 0, 1), get(None, 2, 3)],
    "new, then old": [put("a", 0, 1), put("b", 2, 9), get("b", 3, 4), get("a", 5, 6)],
    "a lost update": [put("a", 0, 1), put("b", 2, 3), put("c", 4, 5), get("b", 6, 7)],
    "seen before it was called": [get("a", 0, 1), put("a", 2, 3)],
    "unknown, but seen before it was called": [get("a", 0, 1), lost_put("a", 2)],
    "nobody wrote that": [put("a", 0, 1), get("z", 2, 3)],
    "failed and happened": [put("a", 0, 1, outcome=FAILED), get("a", 2, 3)],
    "it happened twice": [put("a", 0, 1), put("b", 2, 3), get("b", 4, 5), get("a", 6, 7)],
    "unknown and happened twice": [lost_put("a", 0), get("a", 1, 2), put("b", 3, 4),
                                   get("b", 5, 6), get("a", 7, 8)],
    "it happened twice at once": [put("a", 0, 1), get("a", 2, 3, version=2)],
    "two winners": [put("a", 0, 1), cas("a", "b", 2, 8, True), cas("a", "c", 3, 9, True)],
    "a loser without reason": [put("a", 0, 1), cas("a", "b", 2, 3, False, seen="a")],
    "a winner without reason": [put("a", 0, 1), cas("z", "b", 2, 3, True)],
    "a delete that found nothing": [put("a", 0, 1), op(DELETE, 2, 3, deleted=0)],
    "a delete that did nothing": [put("a", 0, 1), op(DELETE, 2, 3, deleted=1), get("a", 4, 5)],
    "two deletes of one": [put("a", 0, 1), op(DELETE, 2, 8, deleted=1),
                           op(DELETE, 3, 9, deleted=1)],
    "a revision that goes back": [put("a", 0, 1, revision=5), put("b", 2, 3, revision=4)],
    "another one's revision": [put("a", 0, 1, revision=2), get("a", 2, 3, mod=3, version=1)],
    "readers disagree on the order": [put("a", 0, 9), put("b", 0, 9), get("a", 10, 11),
                                      get("b", 12, 13)],
    "a version that skips": [put("a", 0, 1, revision=2), lost_put("b", 2),
                             put("c", 3, 4, revision=4),
                             get("c", 5, 6, mod=4, version=4, revision=4)],
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name):
    order = explain(GOOD[name])
    assert order is not None
    returned = [op for op in order if op.outcome == OK]
    assert sum(op.outcome == OK for op in GOOD[name]) == len(returned)
    for i, later in enumerate(returned):
        assert all(later.ret >= earlier.call for earlier in returned[:i])
    assert check(GOOD[name]).good


@pytest.mark.parametrize("name", BAD)
def test_bad(name):
    assert not is_linearizable(BAD[name])
    verdict = check(BAD[name])
    assert not verdict.good
    assert "no order explains this" in verdict.text()


@pytest.mark.parametrize("name", BAD)
def test_the_order_of_the_list_does_not_matter(name):
    assert not is_linearizable(BAD[name][::-1])


def test_keys_are_judged_apart():
    good, bad = GOOD["one after another"], BAD["a stale read"]
    for one in good:
        one.key = "other"
    try:
        verdict = check(good + bad)
    finally:
        for one in good:
            one.key = "k"
    assert list(verdict.failing) == ["k"] and verdict.keys == 2


def test_a_search_that_is_too_long_is_not_a_pass():
    ops = [put(f"v{i}", 0, 100) for i in range(12)] + [get("z", 101, 102)]
    with pytest.raises(Undecided):
        is_linearizable(ops, steps_max=500)
    verdict = check(ops, steps_max=500)
    assert not verdict.good and "gave up" in verdict.text()


def test_the_smallest_failing_part_is_found():
    ops = []
    for i in range(50):
        ops += [put(f"v{i}", 10 * i, 10 * i + 2), get(f"v{i}", 10 * i + 4, 10 * i + 6)]
    ops[61].seen = "v29"  # the read after v30
    initial, least = minimize(ops)
    assert initial is ANYTHING
    assert [(one.kind, one.value or one.seen) for one in least] in (
        [(PUT, "v30"), (GET, "v29")], [(GET, "v29"), (PUT, "v30"), (GET, "v29")])


def test_a_part_that_is_cut_off_is_no_excuse():
    """What the beginning would have explained, or an answer that came later, is kept in mind."""
    ops = [lost_put("a", 0)] + [get(None, 10 * i, 10 * i + 1) for i in range(1, 20)]
    ops += [get("a", 200, 201), get(None, 210, 211)]
    _, least = minimize(ops)
    assert [one.seen for one in least if one.kind == GET] == ["a", None]


# ---- By revision, over several keys ----

def test_revisions_of_a_right_store():
    assert violations([put("a", 0, 1, revision=2, key="x"), put("b", 2, 3, revision=3, key="y"),
                       get("a", 4, 5, mod=2, version=1, revision=3, key="x"),
                       op(LOCAL_GET, 6, 7, seen=None, mod=0, version=0, revision=2, key="y")]) == []


def test_an_answer_from_before_another_keys_write_is_found():
    """Each key alone is in order."""
    ops = [put("a", 0, 1, revision=2, key="x"), put("b", 2, 3, revision=3, key="y"),
           get("a", 4, 5, mod=2, version=1, revision=2, key="x")]
    assert all(is_linearizable(own) for own in History(ops).by_key().values())
    assert "after revision 3 had been answered" in violations(ops)[0]
    assert not check(ops).good


@pytest.mark.parametrize("ops, what", [
    ([put("a", 0, 9, revision=2, key="x"), put("b", 0, 9, revision=2, key="y")], "twice"),
    ([put("a", 0, 1, revision=2), op(LOCAL_GET, 2, 3, seen=None, mod=0, version=0, revision=2)],
     "at that revision it was a"),
    ([put("a", 0, 1, revision=2), put("b", 2, 3, revision=3),
      op(LOCAL_GET, 4, 5, seen="a", mod=2, version=1, revision=3)], "at that revision it was b"),
    ([op(LOCAL_GET, 4, 5, seen="a", mod=2, version=1, revision=3)], "nobody wrote that"),
    ([put("a", 0, 1, outcome=FAILED),
      op(LOCAL_GET, 4, 5, seen="a", mod=2, version=1, revision=3)], "of a write that failed"),
    ([op(LOCAL_GET, 0, 1, seen="a", mod=2, version=1, revision=3), lost_put("a", 2)],
     "before it was written"),
    ([lost_put("a", 0), get("a", 1, 2, mod=2, version=1, revision=2),
      op(LOCAL_GET, 4, 5, seen=None, mod=0, version=0, revision=2)], "at that revision it was a"),
])
def test_revisions_of_a_wrong_store(ops, what):
    assert any(what in text for text in violations(ops)), violations(ops)


def test_a_history_survives_its_file(tmp_path):
    ops = [one for ops in list(GOOD.values()) + list(BAD.values()) for one in ops]
    History(ops).save(tmp_path / "history")
    loaded = History.load(tmp_path / "history").ops
    assert [str(one) for one in loaded] == [str(one) for one in ops]
    assert [(one.call, one.ret) for one in loaded] == [(one.call, one.ret) for one in ops]
