"""Submitted calls over connections of their own, and threads that are struck there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, cast

import pytest

from bgpy.address import parse
from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.apart import Apart, InHand
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.posted import Posted
from bgpy.errors import NotRunning, ServerGone
from bgpy.wire.messages import Pong
from tests.support.channels import bare_future
from tests.support.strikes import Struck, strike

LONG = 30.0


class Sends:
    """In the place of a channel: counts its calls."""

    def __init__(self, answer: object = Pong(1)) -> None:
        self.answer = answer
        self.calls = 0

    def call(self, *_: object) -> Any:
        self.calls += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Apart:
    """Of a client without a server: what would connect sends over `sends`."""
    place = parse("127.0.0.1", 1)
    access = Access(Target(place, None, lambda: None), 5.0, Acquaintance(place))
    return Apart(access)


def over(mine: Apart, sends: Sends, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(ask: Callable[..., Any], terms: object) -> Any:
        assert [each.lock.locked() for each in mine.in_hand] in ([True], [])
        return ask(cast(Channel, sends), None)

    monkeypatch.setattr(mine._access, "apart", apart)


def posted() -> Posted:
    return Posted(bare_future(), ((b"args"), (), False), 0)


def test_each_is_taken_once_in_order(mine: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is in hand afterwards; who finds none does nothing."""
    sends = Sends()
    over(mine, sends, monkeypatch)
    both = [posted(), posted()]
    mine._posted.extend(both)
    mine.submit_first()
    assert [each.call.done() for each in both] == [True, False]
    for _ in range(2):
        mine.submit_first()
    assert both[1].call.result(0) == Pong(1)
    assert sends.calls == 2
    assert not mine.in_hand


@pytest.mark.parametrize(("raised", "passes"), [(NotRunning("nobody"), False), (OSError(5), True)])
def test_future_ends_whatever_is_raised(
    raised: Exception, passes: bool, mine: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of calls are the future's; all else passes, and ends it too."""
    over(mine, Sends(raised), monkeypatch)
    one = posted()
    called: list[object] = []
    one.call.add_done_callback(called.append)
    mine._posted.append(one)
    with suppress(OSError):
        mine.submit_first()
        assert not passes
    assert called == [one.call]
    assert isinstance(one.call.answer, ServerGone if passes else NotRunning)


def test_struck_anywhere_it_leaves_no_call_behind(
    mine: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call is still posted, or has ended: as not started only if it didn't leave."""
    at, through, ends = 0, False, set()
    while not through:
        sends, one = Sends(), posted()
        over(mine, sends, monkeypatch)
        mine._posted.append(one)
        with suppress(Struck):
            through = strike(at, mine.submit_first, within=("blocking/apart.py",))
        if mine.in_hand:
            mine.tidy()  # it was struck on its way out; who waits comes by
        answer = one.call.answer
        if answer is None:
            ends.add("posted")
            assert list(mine._posted) == [one]
            assert not sends.calls
            mine.submit_first()
            assert one.call.done()
        else:
            ends.add(getattr(answer, "progress", "answered"))
            assert not (sends.calls and getattr(answer, "progress", "") == "not started")
        assert sends.calls <= 1
        assert not mine.in_hand
        mine.submit_first()
        assert not mine._posted
        assert sends.calls <= 1
        at += 1
    assert ends == {"posted", "not started", "unknown", "answered"}


def test_has_finds_what_is_in_hand_while_another_thread_tidies(mine: Apart) -> None:
    """That one takes out what is done, without a lock, and moves what is behind it."""
    sought = posted()

    class Done:
        lock = threading.Lock()

        @property
        def posted(self) -> Posted:
            mine.in_hand.remove(cast(InHand, self))
            return posted()

    mine.in_hand.extend([cast(InHand, Done()), InHand(threading.Lock(), sought)])
    assert mine.has(sought)


def test_who_ends_the_program_waits_for_what_others_have_in_hand(mine: Apart) -> None:
    """Until they let go of it, or the time is over."""
    lock = threading.Lock()
    mine.in_hand.append(InHand(lock, posted()))
    lock.acquire()
    threading.Timer(0.05, lock.release).start()
    mine.wait_for_others(monotonic() + LONG)
    assert lock.locked()
    mine.wait_for_others(monotonic())
