"""How a server ends: every order of exits and interrupts, walked."""

from __future__ import annotations

import itertools

import pytest

from bgpy.memory import Payload
from bgpy.serving.ending import TRANSITIONS, Ending, EndingEvent, EndingState, Taken
from bgpy.serving.job import Job
from bgpy.tasks.lifecycle import Kind
from bgpy.wire.messages import Exit, Message


class Peer:
    """Whoever asks."""

    client_id = b"c" * 16

    def send(self, message: Message) -> None:
        raise AssertionError("an ending doesn't answer")

    def reply(self, request: int, packed: Payload, error: bool, more: bool) -> None:
        raise AssertionError("an ending doesn't answer")


def _exit(request: int, size: int = 0) -> Job:
    return Job(Kind.EXIT, Peer(), Exit(request, bytes(size)), False)


def _ending() -> Ending:
    return Ending(10, 2**20)


def test_transitions_have_every_pair_that_can_happen() -> None:
    """An exit can only be unread once one has been asked for, and before the end."""
    lacking = set(itertools.product(EndingState, EndingEvent)) - TRANSITIONS.keys()
    assert lacking == {
        (state, event)
        for state in (EndingState.SERVING, EndingState.ENDED)
        for event in (EndingEvent.UNREAD, EndingEvent.UNREAD_ALONE)
    }
    assert all(TRANSITIONS[state, EndingEvent.CLOSED] is EndingState.ENDED for state in EndingState)


@pytest.mark.parametrize("steps", list(itertools.product("aiu", repeat=6)))
def test_ending_goes_the_way_of_its_rules_whatever_the_order(steps: tuple[str, ...]) -> None:
    """What was asked has a turn or is kept, once each; an interrupt is never taken back.

    a: a client asks; i: SIGTERM; u: the exit that has its turn can't be read.
    """
    ending = _ending()
    open_exits: list[Job] = []
    interrupted = False
    for number, step in enumerate(steps):
        if step == "a":
            open_exits.append(_exit(number + 1))
            assert ending.ask(open_exits[-1]) is Taken.KEPT
        elif step == "i":
            ending.interrupt()
            interrupted = True
        elif ending.turn is not None and ending.turn.peer is not None:
            turn = ending.turn
            ending.unread(turn)
            ending.unread(turn)  # again, where an exception has struck
            open_exits.remove(turn)
        assert ending.begun is (interrupted or bool(open_exits))
        assert (ending.turn is not None) is ending.begun
        assert (ending.state is EndingState.INTERRUPTED) is interrupted
        if ending.turn is not None and ending.turn.peer is not None:
            assert ending.turn in open_exits
        if not interrupted and open_exits:
            assert ending.turn is open_exits[0]
    turn = ending.turn
    assert ending.close() == [each for each in open_exits if each is not turn]
    assert (ending.state, ending.turn, ending.close()) == (EndingState.ENDED, None, [])
    assert ending.ask(_exit(99)) is Taken.TOO_LATE
    ending.interrupt()
    assert ending.turn is None


def test_ask_keeps_no_more_than_there_is_room_for() -> None:
    """In number and in bytes; who has its turn counts no longer."""
    ending = Ending(2, 100)
    assert [ending.ask(_exit(n)) for n in range(1, 5)] == [Taken.KEPT] * 3 + [Taken.TOO_MANY]
    ending = Ending(10, 100)
    assert ending.ask(_exit(1, 500)) is Taken.KEPT
    assert ending.ask(_exit(2, 60)) is Taken.KEPT
    assert ending.ask(_exit(3, 60)) is Taken.TOO_MANY
    assert ending.ask(_exit(4, 40)) is Taken.KEPT


def test_keeps_knows_the_exits_that_wait() -> None:
    """Also the one whose turn it is, and none of another client."""
    ending = _ending()
    ending.ask(_exit(1))
    ending.ask(_exit(2))
    owner = Peer.client_id
    assert [ending.keeps(owner, n) for n in (1, 2, 3)] == [True, True, False]
    assert not ending.keeps(b"d" * 16, 1)
