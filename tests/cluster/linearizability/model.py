# SPDX-License-Identifier: Apache-2.0
"""What one key does, one operation after another: etcd's, with its revisions and versions.

A state is (value, version, mod, floor):
  value    None: the key is not there. ANY: nothing is known of it, and the first who looks says.
  version  how often it was written since it was made, 0 when it is not there; None: not known
  mod      the revision of its last write, 0 when it is not there; None: not known, because the
           answer was lost; who sees it first says
  floor    a revision that the store is known to have reached: later writes have a greater one

The version is what tells a write that took effect twice from one that did so once.
"""

from .history import CAS, DELETE, OK, PUT


class _Any:
    def __repr__(self):
        return "ANY"


ANY = _Any()
INITIAL = (None, 0, 0, 0)
ANYTHING = (ANY, None, None, 0)


def _write(state, value, revision):
    _, version, _, floor = state
    if revision is not None:
        if revision <= floor:
            return None
        floor = revision
    return (value, None if version is None else version + 1, revision, floor)


def _see(state, op):
    """The state after op has seen the key as it says it has, or None if it cannot have."""
    value, version, mod, floor = state
    if value is not ANY and value != op.seen:
        return None
    if op.revision is not None and op.revision < floor:
        return None
    if op.mod is not None:
        if mod is None:
            # The last write's answer was lost, so all we know is that it came after the floor.
            if value is not ANY and op.mod <= floor:
                return None
        elif mod != op.mod:
            return None
        mod = op.mod
    if op.version is not None:
        if version is not None and version != op.version:
            return None
        version = op.version
    elif op.seen is None:
        version, mod = 0, 0
    return (op.seen, version, mod, max(floor, op.revision or 0))


def _delete(state, op):
    value, _, _, floor = state
    if op.outcome != OK:
        # Where there was nothing it did nothing: as good as never.
        return None if value is None else (None, 0, 0, floor)
    if op.deleted:
        if value is None or (op.revision is not None and op.revision <= floor):
            return None
        return (None, 0, 0, op.revision if op.revision is not None else floor)
    if value not in (None, ANY) or (op.revision is not None and op.revision < floor):
        return None
    return (None, 0, 0, max(floor, op.revision or 0))


def _is_as_expected(state, expect):
    """True, False, or None: it may be."""
    value, _, mod, floor = state
    what, expected = expect
    if value is ANY:
        return None
    if what == "value":
        return value == expected
    if mod is None:
        return None if expected > floor else False
    return mod == expected


def _cas(state, op):
    as_expected = _is_as_expected(state, op.expect)
    if op.outcome != OK or op.succeeded:
        if as_expected is False:
            return None
        return _write(state, op.value, op.revision)
    if as_expected is True:
        return None
    state = _see(state, op)
    if state is None or _is_as_expected(state, op.expect) is True:
        return None
    return state


def step(state, op):
    """The state after op, or None when op cannot happen in this state.

    What is unknown is asked for its effect; where it would have none there is no need for it, and
    it cannot happen either.
    """
    if op.kind == PUT:
        return _write(state, op.value, op.revision)
    if op.kind == DELETE:
        return _delete(state, op)
    if op.kind == CAS:
        return _cas(state, op)
    return _see(state, op)
