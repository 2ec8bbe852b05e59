"""One connects for all, and each waits as long as it may."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from bgpy import Client, Server, ServerGone
from bgpy.address import parse
from bgpy.calling.acquaintance import Acquaintance
from bgpy.calling.blocking import connector as connector_module
from bgpy.calling.blocking.channel import Channel
from bgpy.calling.blocking.connecting import Connected, Target
from bgpy.calling.blocking.connector import Attempt, Connector, TooLate, own_copy
from bgpy.calling.blocking.dialling import Reached
from bgpy.calling.blocking.program import Program
from bgpy.calling.blocking.shared import Shared
from bgpy.calling.terms import Terms, Verdict, Way, way
from bgpy.config import ENV_ROAD
from bgpy.errors import NotRunning, Unreachable
from tests.support.channels import far_end
from tests.support.connections import WELCOME
from tests.support.peers import wait_until

LONG = 30.0


def connector(port: int, timeout: float) -> Connector:
    place = parse("127.0.0.1", port)
    return Connector(Target(place, None, lambda: None), timeout, Shared(place), Acquaintance(place))


def test_waiter_leaves_at_its_deadline_and_the_next_begins_anew() -> None:
    """The attempt that nobody waits for may be stuck where another would not be."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = connector(listener.getsockname()[1], 1.0)
        with pytest.raises(TooLate):
            mine.connected(monotonic() + 0.05)
        assert mine._attempt is None
        with pytest.raises(Unreachable):
            mine.connected(None)


def test_attempt_goes_on_for_those_that_wait_longer() -> None:
    """Whoever leaves at its own deadline leaves it to them."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        mine = connector(listener.getsockname()[1], 1.0)
        longer = pool.submit(mine.connected, None)
        accepted = listener.accept()[0]
        attempt = mine._attempt
        assert attempt is not None
        with pytest.raises(TooLate):
            mine.connected(monotonic() + 0.05)
        assert mine._attempt is attempt
        assert isinstance(longer.exception(60), Unreachable)
        accepted.close()


def test_next_attempt_is_another_when_one_has_failed() -> None:
    """Nothing of it stays."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    mine = connector(port, 5.0)
    for _ in range(2):
        with pytest.raises(NotRunning):
            mine.connected(None)
    assert mine._attempt is None


def test_attempt_of_a_client_that_was_closed_leaves_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also one that its caller had given up before: nobody would close what it made."""
    go_on, closed = threading.Event(), threading.Event()
    connected = SimpleNamespace(reached=SimpleNamespace(sock=SimpleNamespace(close=closed.set)))

    def connect(*args: object) -> SimpleNamespace:
        assert go_on.wait(60)
        return connected

    monkeypatch.setattr(connector_module, "connect", connect)
    mine = connector(1, 5.0)
    with pytest.raises(TooLate):
        mine.connected(monotonic() + 0.01)
    mine.give_up()
    go_on.set()
    assert closed.wait(60)
    assert mine.channel is None


def test_own_copy_says_the_same() -> None:
    """Each thread raises one of its own."""
    error = NotRunning("nothing runs there", address="here")
    error.__cause__ = OSError()
    mine = own_copy(error)
    assert mine is not error
    assert (str(mine), mine.address, mine.__cause__) == (str(error), "here", error.__cause__)


@pytest.mark.parametrize("use", ["close", "ping"])
@pytest.mark.parametrize("where", ["Channel", "connect"])
def test_what_the_collector_runs_as_a_client_connects_may_use_that_client(
    monkeypatch: pytest.MonkeyPatch, use: str, where: str
) -> None:
    """It waits neither for the lock that its thread holds nor for the attempt that it makes."""
    handle = Server("127.0.0.1", 0).run_background()
    make = getattr(connector_module, where)
    used: list[str] = []

    def collecting(*args: Any) -> Any:
        if not used:
            used.append(use)
            getattr(client, use)()
        return make(*args)

    try:
        client = Client(handle.address, timeout=LONG)
        monkeypatch.setattr(connector_module, where, collecting)
        with suppress(ServerGone):  # closed as soon as there was a connection
            client.ping()
        assert used == [use]
        assert client.ping() < LONG
        client.close()
    finally:
        handle.kill()


@pytest.mark.parametrize("fails", ["inside", "connect", "Channel", "tell"])
def test_attempt_whose_thread_has_no_memory_ends_for_all_that_wait(
    monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Wherever it is out, and also where they can't be woken; the next attempt succeeds."""
    handle = Server("127.0.0.1", 0).run_background()
    mine = Client(handle.address, timeout=LONG)._caller.connector
    out, run = [fails], mine._run

    def failing(name: str, real: Any) -> Any:
        def call(*args: Any) -> Any:
            if name in out:
                out.clear()
                raise MemoryError
            return real(*args)

        return call

    class Presence:
        @property
        def inside(self) -> Any:
            return failing("inside", threading.Lock)()

    def run_when_two_wait(attempt: Attempt) -> None:
        wait_until(lambda: not out or len(attempt.latches) == 2, "both wait")
        run(attempt)

    monkeypatch.setattr(mine, "_run", run_when_two_wait)
    monkeypatch.setattr(mine._shared, "here", Presence())
    monkeypatch.setattr(Attempt, "tell", failing("tell", Attempt.tell))
    for name in ("connect", "Channel"):
        real = getattr(connector_module, name)
        monkeypatch.setattr(connector_module, name, failing(name, real))
    try:
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(mine.connected, None) for _ in range(2)]
            failed = [each.exception(LONG) for each in waiting]
        assert not out
        if fails == "tell":  # the connection was there already
            assert failed == [None, None]
        else:
            assert [type(each) for each in failed] == [MemoryError, MemoryError]
        assert mine._attempt is None
        mine.connected(None).close("it is as good as any")
    finally:
        handle.kill()


# The short road of the connection in use


@pytest.fixture
def used() -> Iterator[tuple[Connector, Channel]]:
    """A connector, and the channel that it has made."""
    mine = connector(1, 1.0)
    with far_end(mine._shared) as (channel, _):
        mine.channel = channel
        yield mine, channel


@pytest.mark.parametrize("ends", ["drop", "let_go", "publish"])
def test_short_road_is_open_as_long_as_the_connection_is_in_use(
    used: tuple[Connector, Channel], ends: str
) -> None:
    """From the first call that has found the connection free to be used."""
    mine, channel = used
    assert mine.shortcut is None
    mine.open_shortcut(channel)
    assert mine.shortcut is channel.shortcut
    if ends == "drop":
        mine.drop(channel, "it is late")
    elif ends == "let_go":
        mine.let_go(channel)
    else:
        channel.close("it is late")
        with far_end(mine._shared) as (another, _):
            reached = Reached(another.link.sock, b"")
            found = mine._publish(Connected(reached, another.connection, WELCOME))
            assert mine.channel is found
    assert mine.shortcut is None


def test_short_road_of_a_connection_that_is_not_in_use_stays_closed(
    used: tuple[Connector, Channel],
) -> None:
    """It was dropped meanwhile, or is a call's own."""
    mine, channel = used
    with far_end(mine._shared) as (another, _):
        mine.open_shortcut(another)
        assert mine.shortcut is None
    mine.let_go(channel)
    mine.open_shortcut(channel)
    assert mine.shortcut is None


@pytest.mark.parametrize("ends_program", [True, False])
@pytest.mark.parametrize("generation", [0, 1])
def test_short_road_is_open_to_no_call_that_its_terms_would_send_another_way(
    used: tuple[Connector, Channel],
    monkeypatch: pytest.MonkeyPatch,
    ends_program: bool,
    generation: int,
) -> None:
    """Until the program was told of a restart, it is closed."""
    mine, channel = used
    channel.generation = generation
    monkeypatch.setattr(Program, "ends", ends_program)
    mine.open_shortcut(channel)
    goes = way(Program.ends, False) is Way.SHARED and all(
        Terms(None, None, 0, waits, notice).verdict(generation, False) is Verdict.GO
        for waits in (True, False)
        for notice in (True, False)
    )
    assert (mine.shortcut is not None) == goes
    mine._acquaintance.knows(generation)
    mine.open_shortcut(channel)
    assert (mine.shortcut is not None) == (not ends_program)


def test_short_road_stays_closed_where_it_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """All calls take the general one."""
    monkeypatch.setenv(ENV_ROAD, "general")
    mine = connector(1, 1.0)
    with far_end(mine._shared) as (channel, _):
        mine.channel = channel
        mine.open_shortcut(channel)
        assert mine.shortcut is None
