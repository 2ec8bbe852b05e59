"""What a client knows of its server, from one connection to the next."""

from __future__ import annotations

from bgpy.calling.acquaintance import Acquaintance
from bgpy.errors import ServerRestarted


def test_restart_is_told_to_all_that_began_before_it_was_raised() -> None:
    """In whichever thread; those that begin later have been told."""
    known = Acquaintance("here")
    assert known.meet(b"one") == 0
    began = known.notified
    generation = known.meet(b"two")
    assert generation > began
    assert isinstance(known.restarted(generation), ServerRestarted)
    assert generation > began  # another that began before: it is told as well
    assert generation <= known.notified  # one that begins now is not


def test_same_server_again_is_no_restart() -> None:
    """A connection that was lost says nothing about the process."""
    known = Acquaintance("here")
    known.meet(b"one")
    assert known.meet(b"one") == known.notified
    assert known.generation_of(b"one") == known.generation


def test_who_initialises_a_server_knows_of_it() -> None:
    """Nothing more is to be told."""
    known = Acquaintance("here")
    known.meet(b"one")
    generation = known.meet(b"two")
    known.knows(generation)
    assert generation <= known.notified


def test_who_ended_a_server_expects_another() -> None:
    """It is no restart that the client would have to be told of."""
    known = Acquaintance("here")
    known.meet(b"one")
    known.ended(b"one")
    assert known.generation_of(b"two") == known.generation
    assert known.meet(b"two") == known.notified


def test_end_of_an_earlier_server_says_nothing_of_the_present_one() -> None:
    """Two threads may have had to do with different ones."""
    known = Acquaintance("here")
    known.meet(b"one")
    known.meet(b"two")
    known.ended(b"one")
    assert known.generation_of(b"three") > known.generation
