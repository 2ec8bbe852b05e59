"""A client among servers: who waits for itself is told, whatever the way to it."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, cast

import psutil
import pytest

from bgpy import (
    BgpyError,
    CallingSelf,
    CallTimeout,
    Client,
    Handle,
    ServerGone,
    ServerRestarted,
    token_create,
)
from bgpy.address import parse
from bgpy.calling.blocking import threads
from bgpy.calling.blocking.caller import Caller
from bgpy.calling.blocking.connecting import Target
from bgpy.calling.blocking.futures import CallFuture
from bgpy.calling.blocking.submitting import Submitter
from bgpy.config import ENV_ROAD
from bgpy.memory import Encoded
from tests.support.fixtures import free_port
from tests.support.gate import Gate
from tests.support.tasks.counting import TASKS, count

__all__ = ["free_port"]

Start = Callable[..., tuple[Handle, Client]]


class Unloadable:
    """Can be pickled, and not be rebuilt."""

    def __reduce__(self) -> tuple[Any, ...]:
        return fail_to_load, ()


def fail_to_load() -> None:
    raise LookupError("lost on the way")


def unloadable(state: Any) -> Unloadable:
    """A task's response."""
    return Unloadable()


PATIENCE = 20.0
"""Seconds after which a wait that nobody noticed fails its test."""


class Way:
    """A call through servers, one after another, each waiting for the next in its own way."""

    def __init__(self, *steps: tuple[int, str]) -> None:
        """Ports, and how each is asked."""
        self.steps = steps

    def __call__(self, state: Any) -> Any:
        if not self.steps:
            return "the end"
        (port, how), *rest = self.steps
        args = {"run": Way(*rest)}
        with Client("127.0.0.1", port, timeout=PATIENCE) as client:
            if how == "call":
                return client.call(args)
            if how == "connected":
                client.ping()
            future = client.submit(args)
            if how == "forgotten":
                return "submitted"
            return future.result()


@pytest.fixture
def servers(start: Start) -> list[tuple[int, Client]]:
    """Three initialised servers: their ports, and clients of them."""
    found = []
    for _ in range(3):
        handle, client = start()
        client.initialize(*TASKS)
        found.append((handle.port, client))
    return found


HOWS = ("call", "submitted", "connected")


@pytest.mark.parametrize("count_of_servers", [1, 2, 3])
def test_circle_of_waits_ends_in_calling_self(
    servers: list[tuple[int, Client]], count_of_servers: int
) -> None:
    """Whoever waits, by `call` or for a future, of a client that is connected or is not yet."""
    ports = [port for port, _ in servers[:count_of_servers]]
    client = servers[0][1]
    hows = HOWS if count_of_servers < 3 else ("call", "submitted")
    for ways in itertools.product(hows, repeat=count_of_servers):
        way = Way(*zip([*ports[1:], ports[0]], ways, strict=True))
        with pytest.raises(CallingSelf):
            client.call({"run": way}, timeout=PATIENCE)
        for _, each in servers[:count_of_servers]:
            assert each.call({"run": Way()}, timeout=PATIENCE) == "the end"


def test_second_call_of_a_task_to_its_own_server_is_calling_self(
    servers: list[tuple[int, Client]],
) -> None:
    """By a client that is connected since a moment ago, as nearly all calls are."""
    (first, client), _, _ = servers

    def calling(state: Any) -> list[str]:
        said = []
        with Client("127.0.0.1", first, timeout=PATIENCE) as itself:
            itself.ping()
            for timeout in (None, PATIENCE):
                itself.ping()
                try:
                    itself.call({"run": count}, timeout=timeout)
                except CallingSelf:
                    said.append("noticed")
        return said

    assert client.call({"run": calling}, timeout=PATIENCE) == ["noticed"] * 2


def test_wait_for_a_server_that_nobody_holds_is_left_alone(
    servers: list[tuple[int, Client]],
) -> None:
    """A chain of waits is no circle, and what was waited for before waits for nothing."""
    (_, client), (second, _), (third, _) = servers
    for ways in itertools.product(HOWS, repeat=2):
        way = Way(*zip([second, third], ways, strict=True))
        assert client.call({"run": way}, timeout=PATIENCE) == "the end"


@pytest.mark.parametrize("via", [0, 1])
def test_submit_that_nobody_waits_for_is_queued(
    servers: list[tuple[int, Client]], via: int
) -> None:
    """At the server that a task waits in or comes from: it runs when that task is over."""
    (first, client), (second, _), _ = servers
    way = Way((first, "forgotten")) if not via else Way((second, "call"), (first, "forgotten"))
    before = client.call({"run": count})
    assert client.call({"run": way}, timeout=PATIENCE) == "submitted"
    client.call({"run": count}, timeout=PATIENCE)
    assert client.call({"run": count}, timeout=PATIENCE) == before + 4


def test_wait_of_the_standard_library_is_the_tasks_own_affair(
    servers: list[tuple[int, Client]],
) -> None:
    """It is not noticed (docs/limits.md); `result` behind it is."""
    (first, client), _, _ = servers

    def waiting(state: Any) -> str:
        with Client("127.0.0.1", first) as itself:
            future = itself.submit({"run": count})
            assert wait([future], timeout=0.1).not_done
            try:
                future.result()
            except CallingSelf:
                return "noticed"
        return "not noticed"

    assert client.call({"run": waiting}, timeout=PATIENCE) == "noticed"


def test_time_out_while_sending_harms_no_other_thread(start: Start) -> None:
    """What has begun to leave is sent on, and withdrawn behind that; the connection stays."""
    handle, client = start()
    client.initialize(*TASKS)
    process = psutil.Process(handle.pid)
    large = {"run": count, "pad": bytes(10**7)}
    with Gate() as gate, ThreadPoolExecutor(1) as pool:
        other = pool.submit(client.call, {"run": gate.passing("its own")})
        gate.wait()
        process.suspend()
        try:
            with pytest.raises(CallTimeout) as caught:
                client.call(large, timeout=0.1)
            with pytest.raises(CallTimeout):
                client.submit(large, timeout=0.1).result(PATIENCE)
        finally:
            process.resume()
        assert caught.value.progress == "unknown"
        assert client.ping(timeout=PATIENCE) > 0  # behind the withdrawals
        gate.open()
        assert other.result(PATIENCE) == "its own"
    assert client.call({"run": count}) == 1


@pytest.mark.parametrize("how", ["call", "submit"])
def test_restart_is_told_at_the_first_call_after_it(start: Start, free_port: int, how: str) -> None:
    """Whatever the call is: what could still be sent isn't lost to the old connection."""
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    client.call({"run": count})  # nobody reads after it, so nobody notices the end
    handle.kill()
    start(port=handle.port, token=token)[1].initialize(*TASKS)
    ways = {"call": client.call, "submit": lambda args: client.submit(args).result(PATIENCE)}
    with pytest.raises(ServerRestarted):
        ways[how]({"run": count})
    assert client.submit({"run": count}).result(PATIENCE) == 0


@pytest.mark.parametrize("road", ["short", "general"])
def test_restart_that_a_ping_met_is_told_to_the_next_call(
    start: Start, free_port: int, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    """The connection is used already, so that nothing but the restart keeps a call from it."""
    monkeypatch.setenv(ENV_ROAD, road)
    token = token_create()
    handle, client = start(port=free_port, token=token)
    client.initialize(*TASKS)
    client.call({"run": count})
    handle.kill()
    start(port=handle.port, token=token)[1].initialize(*TASKS)
    client.ping()
    with pytest.raises(ServerRestarted):
        client.call({"run": count})
    assert client.call({"run": count}) == 0


def test_call_overtakes_nothing_that_was_submitted_before(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is posted, in a handler that interrupted the client say, is sent first."""
    _, client = start()
    client.initialize(*TASKS)
    client.call({"run": count})
    monkeypatch.setattr(client._caller._submitter, "ring", lambda: None)  # the sender is slow
    with client._caller._here.inside:  # as where a handler submits
        future = client.submit({"run": count})
    assert client.call({"run": count}) == 2
    assert future.result(PATIENCE) == 1


def test_future_that_is_closed_over_says_that_the_client_was_closed(start: Start) -> None:
    """The server, which closes its side then, is well."""
    handle, client = start()
    client.initialize(*TASKS)
    with Gate() as gate:
        with Client(handle.host, handle.port) as closed:
            future = closed.submit({"run": gate.passing()})
            gate.wait()
        with pytest.raises(ServerGone, match="the client was closed; whether the call ran"):
            future.result(PATIENCE)
        gate.open()
    assert client.call({"run": count}) == 1


@pytest.mark.parametrize("how", ["call", "submit"])
def test_every_error_of_a_call_names_the_server(start: Start, how: str) -> None:
    """A program may have many; only what a task raised is about the task alone."""
    handle, client = start()
    ways: dict[str, Callable[[Any, float | None], object]] = {
        "call": lambda args, timeout: client.call(args, timeout=timeout),
        "submit": lambda args, timeout: client.submit(args, timeout=timeout).result(PATIENCE),
    }

    def error(args: object = None, timeout: float | None = PATIENCE) -> BgpyError:
        given: Any = {"run": count} if args is None else args
        with pytest.raises(BgpyError) as caught:
            ways[how](given, timeout)
        return caught.value

    found = [error()]
    client.initialize(*TASKS)
    found += [error({"run": count, "pad": Unloadable()}), error({"run": unloadable})]
    with Gate() as one, Gate() as other, ThreadPoolExecutor(1) as pool:
        client.execute({"run": one.passing()})
        one.wait()
        found += [error(timeout=0.1)]
        one.open()
        killed = pool.submit(error, {"run": other.passing()})
        other.wait()
        handle.kill()
        found += [killed.result(PATIENCE), error()]
    names = "NotInitialized DecodeError DecodeError CallTimeout ServerGone NotRunning"
    assert [type(each).__name__ for each in found] == names.split()
    for each in found:
        assert each.address == client.address
        assert client.address in str(each)


def test_time_out_tells_a_server_that_is_not_reached_from_one_that_does_not_answer(
    start: Start,
) -> None:
    """One takes connections and says nothing; the other's process is stopped."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Client("127.0.0.1", silent.getsockname()[1], connect_timeout=30.0) as unheard,
        pytest.raises(CallTimeout) as caught,
    ):
        unheard.call({}, timeout=0.1)
    assert str(caught.value).startswith(f"no connection to {unheard.address} within 0.1 s")
    assert caught.value.progress == "not started"
    handle, client = start()
    client.initialize(*TASKS)
    process = psutil.Process(handle.pid)
    process.suspend()
    try:
        with pytest.raises(CallTimeout) as caught:
            client.call({"run": count}, timeout=0.1)
    finally:
        process.resume()
    assert str(caught.value).startswith(f"no answer from {client.address} within 0.1 s")
    assert "its process may be stopped" in str(caught.value)
    assert f"'kill -9 {handle.pid}' on its machine" in str(caught.value)


@pytest.mark.parametrize("how", ["call", "terminate", "ping"])
def test_time_limit_is_named_as_it_was_given(start: Start, how: str) -> None:
    """Not what connecting, and looking at the code, have left of it."""
    handle, _ = start()
    client = Client(handle.host, handle.port)
    client.initialize(*TASKS)
    acts: dict[str, Callable[[float], object]] = {
        "call": lambda seconds: client.call({"run": count}, timeout=seconds),
        "terminate": lambda seconds: client.terminate({"run": count}, timeout=seconds),
        "ping": lambda seconds: client.ping(timeout=seconds),
    }
    process = psutil.Process(handle.pid)
    process.suspend()
    try:
        with client, pytest.raises(CallTimeout, match=r"within 0\.123456789 s"):
            acts[how](0.123456789)
    finally:
        process.resume()


# The short road


class Asked:
    """In the place of a connection's short road: it takes what it is asked to, or nothing."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.calls: list[object] = []

    def call(self, head: bytes, timeout: float | None) -> bytearray | None:
        self.calls.append((head, timeout))
        return bytearray(b"value") if self.takes else None

    def submit(self, future: CallFuture, head: bytes) -> bool | None:
        self.calls.append(head)
        return False if self.takes else None


class General(Exception):
    """The general road was taken."""


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """One whose general road ends at once."""

    def general(*args: object, **kwargs: object) -> None:
        raise General

    monkeypatch.setattr(Caller, "_do", general)
    monkeypatch.setattr(Submitter, "_post", general)
    caller = Caller(Target(parse("127.0.0.1", 1), None, lambda: None), 5.0)
    yield caller
    caller.close()


def shortcut_of(caller: Caller, takes: bool = True) -> Asked:
    shortcut = Asked(takes)
    caller.connector.shortcut = cast(Any, shortcut)
    return shortcut


def _submit(caller: Caller, packed: Encoded = b"x", timeout: float | None = None) -> CallFuture:
    return caller.submit(packed, lambda answer: answer, timeout)


def test_short_road_takes_small_calls_that_are_submitted_without_a_time_limit(
    caller: Caller,
) -> None:
    """Who waits asks it without the caller's help."""
    shortcut = shortcut_of(caller)
    _submit(caller)
    assert shortcut.calls == [b"x"]
    with pytest.raises(General):
        _submit(caller, timeout=5.0)


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param((memoryview(b"x"), (), False), id="the user's memory"),
        pytest.param((b"x", (memoryview(b"buffer"),), False), id="buffers"),
        pytest.param((b"x", (), True), id="holds code"),
        pytest.param((b"x", (), False), id="not small, or names code"),
        pytest.param(b"x", id="it is closed"),
    ],
)
def test_short_road_is_not_asked_for_what_is_anything_else(caller: Caller, packed: Encoded) -> None:
    """It may be closed, too."""
    shortcut = shortcut_of(caller)
    if packed == b"x":
        caller.connector.shortcut = None
    with pytest.raises(General):
        _submit(caller, packed)
    assert not shortcut.calls


def test_general_road_takes_what_the_short_one_leaves(caller: Caller) -> None:
    """Nothing was done then."""
    shortcut = shortcut_of(caller, takes=False)
    with pytest.raises(General):
        _submit(caller)
    assert len(shortcut.calls) == 1


def test_short_road_is_for_futures_that_somebody_calls_back(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be had for that, they go another way."""
    shortcut = shortcut_of(caller)
    monkeypatch.setattr(threads, "start", lambda *_: False)
    with pytest.raises(General):
        _submit(caller)
    assert not shortcut.calls
