"""Clients are told of the program's forks and of its end."""

from __future__ import annotations

import os
import sys
import threading
import time
from time import monotonic
from typing import cast

import pytest

from bgpy.calling.blocking import program
from bgpy.calling.blocking.channel import Channel


class Member:
    """A client that notes what it is told."""

    def __init__(self, channel: Channel | None = None) -> None:
        self.channel = channel
        self.told: list[str] = []

    def say_goodbye(self, reason: str, deadline: float) -> Channel | None:
        assert program.Program.ends
        assert monotonic() < deadline <= monotonic() + program.FAREWELL
        self.told.append(reason)
        return self.channel

    def prepare_for_the_end(self) -> None:
        self.told.append("prepare")

    def wait_for_others(self, deadline: float) -> None:
        self.told.append("wait")

    def reset_in_child(self) -> None:
        self.told.append("reset")


@pytest.fixture(autouse=True)
def no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients of other tests are none of these; the program goes on after its end."""
    monkeypatch.setattr(program, "_members", type(program._members)())
    monkeypatch.setattr(program.Program, "ends", False)


def test_members_say_goodbye_at_the_end_while_they_live() -> None:
    """All of them first, before any is waited for."""
    member, gone = Member(), Member()
    program.join(member)
    program.join(gone)
    told = gone.told
    del gone
    program._end_all()
    assert member.told == ["prepare", "the program has ended", "wait"]
    assert told == []


class Fails(Member):
    """A client that fails at one of the steps."""

    def __init__(self, at: str, error: BaseException) -> None:
        super().__init__()
        self.at = at
        self.error = error

    def _fail(self, step: str) -> None:
        if step == self.at:
            raise self.error

    def say_goodbye(self, reason: str, deadline: float) -> Channel | None:
        self._fail("goodbye")
        return cast(Channel, self)

    def wait_closed(self, deadline: float) -> None:
        self._fail("closed")

    def close(self, reason: str) -> None:
        self._fail("close")

    def prepare_for_the_end(self) -> None:
        self._fail("prepare")

    def wait_for_others(self, deadline: float) -> None:
        self._fail("wait")

    def reset_in_child(self) -> None:
        self._fail("reset")


@pytest.mark.parametrize("step", ["prepare", "goodbye", "closed", "close", "wait"])
def test_members_say_goodbye_though_others_fail(step: str) -> None:
    """What one raises is raised when all have been told: the first of it."""
    first, member, last = Fails(step, MemoryError("1")), Member(), Fails(step, MemoryError("2"))
    for each in (first, member, last):
        program.join(each)
    with pytest.raises(MemoryError):
        program._end_all()
    assert member.told == ["prepare", "the program has ended", "wait"]


def test_members_are_not_waited_for_when_one_wait_is_interrupted() -> None:
    """Ctrl-C means that the program is to end; goodbyes are said all the same."""
    deadlines: list[float] = []

    class Waits(Fails):
        def wait_closed(self, deadline: float) -> None:
            deadlines.append(deadline - monotonic())
            super().wait_closed(deadline)

    members = [Waits("closed", KeyboardInterrupt()) for _ in range(3)]
    for each in members:
        program.join(each)
    with pytest.raises(KeyboardInterrupt):
        program._end_all()
    first, *others = deadlines
    assert first > 0 >= max(others)
    assert len(others) == 2


def test_members_begin_anew_in_a_child_though_others_fail() -> None:
    """One that is left out would use the connection of the parent."""
    failing, member = [Fails("reset", MemoryError()) for _ in range(4)], Member()
    for each in (*failing[:2], member, *failing[2:]):
        program.join(each)
    with pytest.raises(MemoryError):
        program._reset_in_child()
    assert member.told == ["reset"]


def test_members_are_told_while_others_join_and_leave() -> None:
    """In threads that the end of a program doesn't wait for."""
    members = [Member() for _ in range(2000)]
    for each in members:
        program.join(each)
    over, joined, rounds = threading.Event(), list[Member](), 0

    def joins() -> None:
        while not over.is_set():
            joined.append(Member())
            program.join(joined[-1])
            time.sleep(0)

    thread = threading.Thread(target=joins)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        while len(joined) < 100:
            program._reset_in_child()
            rounds += 1
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)
    assert all(len(each.told) == rounds for each in members)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_members_begin_anew_in_a_forked_child() -> None:
    """And the parent's don't."""
    member = Member()
    program.join(member)
    child = os.fork()
    if not child:
        os._exit(0 if member.told == ["reset"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert member.told == []
