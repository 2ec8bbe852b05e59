"""Which connection a call gets, and when it gets none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from time import monotonic
from typing import Any

import pytest

from bgpy.address import parse
from bgpy.calling.blocking import access as module
from bgpy.calling.blocking.access import Access
from bgpy.calling.blocking.caller import Caller
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.connector import TooLate
from bgpy.calling.blocking.posted import Posted
from bgpy.calling.blocking.program import Program
from bgpy.calling.blocking.submitting import Submitter
from bgpy.calling.conversation import Acquaintance
from bgpy.calling.terms import Terms, Verdict, Way, way
from bgpy.config import ENV_ROAD
from bgpy.errors import CallingSelf, CallTimeout, ServerRestarted
from bgpy.memory import Payload
from bgpy.tasks.current import serving
from bgpy.wire.messages import Goodbye
from bgpy.wire.small import SMALL_CALL
from tests.support.channels import Far, bare_future, far_end
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


SMALL = b"x" * SMALL_CALL


def no_channel(mine: Access) -> None:
    mine.connector.channel = None


def restarted(mine: Access) -> None:
    assert mine.connector.channel is not None
    mine.connector.channel.generation = 1


def posted(mine: Access) -> None:
    mine.posted.append(Posted(bare_future(), (SMALL, (), False), 0))


@pytest.mark.parametrize(
    ("head", "before", "within"),
    [
        pytest.param(SMALL + b"x", None, None, id="not small"),
        pytest.param(SMALL, no_channel, None, id="no connection"),
        pytest.param(SMALL, restarted, None, id="restarted"),
        pytest.param(SMALL, posted, None, id="others come first"),
        pytest.param(SMALL, None, lambda mine: mine.here.inside, id="inside of a call"),
        pytest.param(SMALL, None, lambda _: serving(b"another server"), id="in a task"),
    ],
)
def test_short_road_is_for_small_calls_that_need_no_look_at_anything_else(
    ends: tuple[Channel, Far],
    head: bytes,
    before: Callable[[Access], None] | None,
    within: Callable[[Access], AbstractContextManager[object]] | None,
) -> None:
    """With each condition turned round it takes none, and with the same thing undone it does."""
    mine, (channel, _) = access(), ends
    mine.connector.channel = channel
    assert mine.short_road(SMALL) is channel
    if before is not None:
        before(mine)
    with within(mine) if within is not None else nullcontext():
        assert mine.short_road(head) is None
    if before is None:
        assert mine.short_road(SMALL) is channel


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("ends_program", [True, False])
@pytest.mark.parametrize("generation", [0, 1])
@pytest.mark.parametrize("server", [None, b"another", WELCOME.incarnation])
def test_short_road_takes_no_call_that_its_terms_would_send_another_way(
    ends: tuple[Channel, Far],
    monkeypatch: pytest.MonkeyPatch,
    inside: bool,
    ends_program: bool,
    generation: int,
    server: bytes | None,
) -> None:
    """Whatever else it asks: what it doesn't look at would not matter."""
    mine, (channel, _) = access(), ends
    mine.connector.channel = channel
    channel.generation = generation
    monkeypatch.setattr(Program, "ends", ends_program)
    with (
        serving(server) if server is not None else nullcontext(),
        mine.here.inside if inside else nullcontext(),
    ):
        taken = mine.short_road(SMALL) is not None
        goes = way(Program.ends, inside) is Way.SHARED and all(
            Terms(None, None, 0, waits, notice).verdict(generation, module.is_own_server(channel))
            is Verdict.GO
            for waits in (True, False)
            for notice in (True, False)
        )
    assert taken == (goes and server is None)


def test_short_road_is_open_again_when_the_restart_was_told(ends: tuple[Channel, Far]) -> None:
    """As it is for whoever was told."""
    mine, (channel, _) = access(), ends
    mine.connector.channel = channel
    restarted(mine)
    mine.acquaintance.knows(1)
    assert mine.short_road(SMALL) is not None


def test_short_road_is_closed_at_the_programs_end_and_where_it_is_switched_off(
    ends: tuple[Channel, Far], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the end other threads may be gone; switched off, all calls take the long one."""
    mine, (channel, _) = access(), ends
    mine.connector.channel = channel
    with monkeypatch.context() as patch:
        patch.setattr(Program, "ends", True)
        assert mine.short_road(SMALL) is None
    assert mine.short_road(SMALL) is not None
    monkeypatch.setenv(ENV_ROAD, "general")
    with far_end() as (general, _):
        mine.connector.channel = general
        assert mine.short_road(b"") is None


@pytest.mark.parametrize(
    ("payload", "timeout"),
    [
        ((memoryview(b"x"), (), False), None),
        ((b"x", (memoryview(b"buffer"),), False), None),
        ((b"x", (), True), None),
        ((b"x", (), False), 1.0),
    ],
    ids=["the user's memory", "buffers", "holds code", "time limit"],
)
def test_short_road_is_not_asked_for_calls_that_are_not_plain(
    monkeypatch: pytest.MonkeyPatch, payload: Payload, timeout: float | None
) -> None:
    """Neither by those that wait nor by those that are submitted."""

    class General(Exception):
        pass

    def general(*args: object, **kwargs: object) -> None:
        raise General

    def asked(self: Access, head: bytes) -> None:
        raise AssertionError("the short road was asked")

    monkeypatch.setattr(Access, "short_road", asked)
    monkeypatch.setattr(Caller, "_do", general)
    monkeypatch.setattr(Submitter, "_post", general)
    place = parse("127.0.0.1", 1)
    caller = Caller(Target(place, None, lambda: None), 5.0)
    with pytest.raises(General):
        caller.call(payload, timeout)
    with pytest.raises(General):
        caller.submit(payload, lambda answer: answer, timeout)
    with pytest.raises(AssertionError, match="asked"):
        caller.call((b"x", (), False), None)
