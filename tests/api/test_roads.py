"""The short roads and the general ones do the same, on either side of a connection."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bgpy import (
    CallTimeout,
    Client,
    DecodeError,
    Limits,
    MessageTooLarge,
    NoResponse,
    NotInitialized,
    Server,
    respond,
)
from bgpy.calling.blocking import shortcut
from bgpy.calling.blocking.shortcut import LONG, Shortcut
from bgpy.config import ENV_ROAD

ROADS = ["short", "general"]
LIMITS = Limits(max_message=300_000)


def _init() -> int:
    return 0


def _exec(client_socket: Any, state: int, args: dict[str, Any]) -> int:
    if "raise" in args:
        raise KeyError(args["raise"])
    if "sleep" in args:
        time.sleep(args["sleep"])
    if args.get("respond", True):
        value = args["call"]() if "call" in args else args.get("value", state)
        respond(client_socket, value, error=args.get("error", False))
    return state + 1


def _exit(client_socket: Any, state: int, args: dict[str, Any]) -> None: ...


@pytest.fixture(scope="module", params=ROADS)
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """A server that takes one of the roads, and its token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPY_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv(ENV_ROAD, request.param)
        server = Server("127.0.0.1", 0, limits=LIMITS)
        handle = server.run_background()
        assert server.token is not None
        yield handle.address, server.token
        handle.kill()


@pytest.fixture(params=ROADS)
def client(
    address: tuple[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A client that takes one of the roads."""
    monkeypatch.setenv(ENV_ROAD, request.param)
    with Client(address[0], token=address[1]) as client:
        client.initialize(_init, _exec, _exit)
        client.call({})
        yield client


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each call that tried the client's short road, whether it went there."""
    went: list[bool] = []
    call = Shortcut.call

    def noted(self: Shortcut, head: bytes, timeout: float | None) -> Any:
        answer = call(self, head, timeout)
        went.append(answer is not None)
        return answer

    monkeypatch.setattr(Shortcut, "call", noted)
    return went


@pytest.mark.parametrize(
    "value",
    [None, 0, "text", b"x" * 4000, b"x" * 5000, bytes(100_000), {"a": [1, (2.0,)]}, Path("p")],
    ids=["none", "int", "text", "small", "over small", "large", "nested", "path"],
)
def test_values_travel_both_ways(client: Client, value: Any) -> None:
    """Small and large ones, beyond the size of the short road and of a copied head."""
    for _ in range(2):
        assert client.call({"value": value}) == value


def test_code_travels_both_ways(client: Client) -> None:
    """What needs cloudpickle is no plain pickle."""
    assert client.call({"call": lambda: 5}) == 5
    assert client.call({"call": lambda: lambda: 6})() == 6


def test_other_answers_come_as_what_they_are(client: Client) -> None:
    """And the call after each works."""
    with pytest.raises(KeyError, match="wrong"):
        client.call({"raise": "wrong"})
    with pytest.raises(NoResponse):
        client.call({"respond": False})
    assert client.call({"value": 1, "error": True}) == 1
    with pytest.raises(MessageTooLarge):
        client.call({"value": bytes(400_000)})
    with pytest.raises(DecodeError):
        client.call({"value": _Unreadable()})
    assert client.call({"value": 2}) == 2


class _Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise ValueError("it can't be rebuilt")


def test_late_reply_is_not_taken_for_the_next_ones(client: Client) -> None:
    """Of a call that timed out, it comes before the one that is waited for."""
    with pytest.raises(CallTimeout):
        client.call({"sleep": 0.3, "value": "late"}, timeout=0.05)
    assert client.call({"value": "next"}) == "next"
    assert client.call({"value": "after"}) == "after"


def test_threads_and_futures_get_their_own(client: Client) -> None:
    """Whoever comes while one calls alone."""
    with ThreadPoolExecutor(8) as pool:
        futures = [client.submit({"value": number}) for number in range(100)]
        calls = list(pool.map(lambda number: client.call({"value": number}), range(400)))
    assert calls == list(range(400))
    assert [future.result(20) for future in futures] == list(range(100))
    assert client.call({"value": "alone"}) == "alone"


def test_small_message_over_the_servers_limit_is_refused() -> None:
    """Before it is sent, and the connection stays."""
    server = Server("127.0.0.1", 0, limits=Limits(max_message=2000))
    handle = server.run_background()
    try:
        with Client(handle.address, token=server.token) as client:
            with pytest.raises(NotInitialized):
                client.call({})
            with pytest.raises(MessageTooLarge):
                client.call({"value": bytes(3000)})
            with pytest.raises(NotInitialized):
                client.call({})
    finally:
        handle.kill()


def test_call_goes_alone_only_where_nothing_else_is(
    address: tuple[str, str], alone: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a future, and with a short time limit, it takes the general road."""
    monkeypatch.setenv(ENV_ROAD, "short")
    monkeypatch.setattr(shortcut, "LOOK_AFTER", 30.0)  # also where this thread waits for its turn
    with Client(address[0], token=address[1]) as client:
        client.initialize(_init, _exec, _exit)
        client.call({})
        del alone[:]
        assert client.call({"value": 1}) == 1
        assert client.call({"value": 2}, timeout=20.0) == 2
        assert alone == [True, True]
        assert client.call({"value": 2}, timeout=LONG * 0.99) == 2
        assert client.call({"value": bytes(5000)}) == bytes(5000)
        future = client.submit({"value": 3, "sleep": 0.1})
        assert client.call({"value": 4}) == 4
        assert future.result(20) == 3
    assert True not in alone[2:]
