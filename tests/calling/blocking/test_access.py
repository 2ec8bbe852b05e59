"""Which connection a call gets, and when it gets none."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from bgpy.address import parse
from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.connector import TooLate
from bgpy.calling.blocking.program import Program
from bgpy.calling.terms import Terms
from bgpy.errors import CallingSelf, CallTimeout, ServerRestarted
from bgpy.tasks.current import serving
from bgpy.wire.messages import Goodbye
from tests.support.channels import Far, far_end
from tests.support.connections import WELCOME

ENDLESS = Terms(None, None, 0, waits=True, notice=True)


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Far]]:
    """A channel, and its other end."""
    with far_end() as both:
        yield both


def access() -> Access:
    place = parse("127.0.0.1", 1)
    return Access(Target(place, None, lambda: None), 1.0, Acquaintance(place))


def alone(mine: Access, channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `channel` be the connection of its own that the next call gets."""
    monkeypatch.setattr(mine.connector, "apart", lambda deadline: channel)


@pytest.mark.parametrize("began", [0, 1])
@pytest.mark.parametrize("notice", [True, False])
def test_call_that_began_before_a_restart_is_told_if_it_has_to_know(
    ends: tuple[Channel, Far], began: int, notice: bool
) -> None:
    """Those that began after the notice have been told."""
    mine, (channel, _) = access(), ends
    mine.acquaintance.meet(b"another")
    channel.generation = mine.acquaintance.meet(WELCOME.incarnation)
    terms = ENDLESS._replace(began=began, notice=notice)
    if notice and not began:
        with pytest.raises(ServerRestarted, match="has been restarted"):
            mine.check(channel, terms)
        assert mine.acquaintance.notified == 1
    else:
        mine.check(channel, terms)


def test_task_may_not_wait_for_its_own_server(ends: tuple[Channel, Far]) -> None:
    """It may ask what is answered while a task runs."""
    mine, (channel, _) = access(), ends
    with serving(WELCOME.incarnation):
        with pytest.raises(CallingSelf):
            mine.check(channel, ENDLESS)
        mine.check(channel, ENDLESS._replace(waits=False))
    mine.check(channel, ENDLESS)


def test_connection_of_its_own_is_closed_after_the_call(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a goodbye, whatever the call raised."""
    mine, (channel, far) = access(), ends
    alone(mine, channel, monkeypatch)

    def ask(given: Channel, *_: object) -> Any:
        assert given is channel
        raise KeyError

    with pytest.raises(KeyError):
        mine.apart(ask, ENDLESS)
    assert far.read() == Goodbye("the call is over")
    assert channel.has_ended


def test_what_the_server_says_is_the_reason_on_a_connection_of_its_own_too(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read where sending fails."""
    mine, (channel, far) = access(), ends
    alone(mine, channel, monkeypatch)
    far.say(Goodbye("it is late"))
    far.sock.close()
    answer = mine.apart(
        lambda given, deadline: given.call((b"x", (), False), b"", None, deadline), ENDLESS
    )
    assert "it is late" in str(answer)


def test_restart_that_a_connection_of_its_own_meets_is_told_again_over_the_shared_one(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler's call was told: the program may not have been."""
    mine, (channel, _) = access(), ends
    alone(mine, channel, monkeypatch)
    mine.acquaintance.meet(b"another")
    with pytest.raises(ServerRestarted):
        mine.apart(lambda *_: None, ENDLESS)
    assert mine.acquaintance.meet(WELCOME.incarnation) > mine.acquaintance.notified


def test_no_connection_in_time_is_a_time_out_that_has_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the words of the time limit that the caller gave."""

    def too_late(*_: object, **__: object) -> None:
        raise TooLate

    mine = access()
    monkeypatch.setattr(mine.connector, "apart", too_late)
    monkeypatch.setattr(mine.connector, "connected", too_late)
    terms = ENDLESS._replace(timeout=0.5, deadline=monotonic())
    for act in (
        lambda: mine.apart(lambda *_: None, terms),
        lambda: mine.connected(terms.deadline, terms.timeout),
    ):
        with pytest.raises(CallTimeout, match=r"^no connection to .* within 0\.5 s") as caught:
            act()
        assert caught.value.progress == "not started"


def test_call_is_inside_of_another_one_or_of_the_programs_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then it may wait for no lock and no thread of its client's."""
    mine = access()
    assert not mine.is_inside()
    with mine.here.inside:
        assert mine.is_inside()
    monkeypatch.setattr(Program, "ends", True)
    assert mine.is_inside()
