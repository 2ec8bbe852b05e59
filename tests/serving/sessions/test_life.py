"""The life of a session: its table, and what sessions that walk it may meet."""

from __future__ import annotations

from itertools import product

import pytest

from bgpy.serving.sessions.life import (
    ACTED_ON,
    LINGERS,
    TRANSITIONS,
    SessionEvent,
    SessionState,
)

S, E = SessionState, SessionEvent


def _reached(start: SessionState) -> set[SessionState]:
    found, ahead = {start}, [start]
    while ahead:
        at = ahead.pop()
        for (state, _), to in TRANSITIONS.items():
            if state is at and to not in found:
                found.add(to)
                ahead.append(to)
    return found


def test_every_state_is_reached_and_nothing_comes_after_closed() -> None:
    """From the first one on; a session that is closed has no events any more."""
    assert _reached(S.PROVING) == set(S)
    assert _reached(S.CLOSED) == {S.CLOSED}


@pytest.mark.parametrize("state", [state for state in S if state is not S.CLOSED])
def test_session_can_be_over_in_every_state(state: SessionState) -> None:
    """Its socket may fail, and whoever closes it may be struck, at any time."""
    assert TRANSITIONS[state, E.OVER] is S.CLOSING


def test_life_goes_one_way() -> None:
    """No state is come back to, but closing may be begun again where it was struck."""
    circles = {
        (state, event) for (state, event), to in TRANSITIONS.items() if state in _reached(to)
    }
    assert circles == {(S.CLOSING, E.OVER)}


def test_client_counts_only_once_it_has_proved_the_token() -> None:
    """Nothing but its proof leads to OPEN."""
    assert [key for key, to in TRANSITIONS.items() if to is S.OPEN] == [(S.PROVING, E.PROVED)]


def test_what_is_told_nothing_any_more_does_not_linger() -> None:
    """Only a client that can still be sent to is told why it is closed."""
    told = {state for state in S if (state, E.FAREWELL) in TRANSITIONS}
    assert told == {S.PROVING, S.OPEN}
    assert not (set(ACTED_ON) | set(LINGERS)) & {S.CLOSING, S.CLOSED}
    assert set(ACTED_ON) | set(LINGERS) | {S.CLOSING, S.CLOSED} == set(S)


def test_nothing_is_acted_on_after_a_farewell() -> None:
    """What still comes from a client that was told why it is closed is dropped."""
    for state, event in product(S, E):
        if event is E.FAREWELL and (state, event) in TRANSITIONS:
            assert not _reached(TRANSITIONS[state, event]) & set(ACTED_ON)
