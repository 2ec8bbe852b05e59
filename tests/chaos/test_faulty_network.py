"""Calls through a network that delays, cuts, forges and resets: what they end in is true."""

from __future__ import annotations

import pytest

from bgpy import (
    AuthenticationError,
    BgpyError,
    CallTimeout,
    Client,
    ConnectError,
    Handle,
    RemoteProtocolError,
    ServerGone,
    ServerRestarted,
    VersionMismatch,
)
from bgpy.calling.blocking import caller, sent
from tests.support import proxy
from tests.support.aftermath import PROMPT
from tests.support.tasks.troubled import request, right_answer
from tests.support.ways import WAYS, Way

SEEDS = range(4)
CALLS = 4
TIME = 0.2
"""Seconds of a call; on a connection that swallows all it is what ends it."""

NOTHING_SENT = (ConnectError, AuthenticationError, VersionMismatch, ServerRestarted)


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    """How clients reach the server, through the network."""
    made: Way = request.param
    return made


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients ask shorter how far a call came whose time is over, and wait less in closing."""
    monkeypatch.setattr(sent, "ASK", 0.1)
    monkeypatch.setattr(caller, "FAREWELL", 0.3)


def known(error: BgpyError) -> str:
    """What an error says about its request."""
    if isinstance(error, NOTHING_SENT):
        return "not started"
    if isinstance(error, (CallTimeout, ServerGone)):
        return error.progress
    return "unknown"


def call(client: Client, number: int, timeout: float) -> str:
    """Call once; gives what is known then: it ran, it did not start, or neither."""
    try:
        value = client.call(request(number), timeout=timeout)
    except BgpyError as error:
        return known(error)
    assert value == right_answer(number), "a wrong value was taken for the right one"
    return "ran"


@pytest.mark.parametrize("fault", [*proxy.HARMLESS, *proxy.LOSSES, *proxy.FORGERIES])
def test_call_tells_the_truth_when_the_network_is_faulty(
    way: Way, steady: Handle, other: Client, fault: str
) -> None:
    """A value, or an error that says what is known; each request runs once at most."""
    told: dict[int, str] = {}
    timeout = 20.0 if fault in proxy.HARMLESS else TIME
    for seed in SEEDS:
        script = proxy.Script.of(fault, seed)
        with proxy.proxy(steady.port, script) as port, way.client(port) as client:
            for turn in range(CALLS):
                number = 100 * seed + turn
                told[number] = call(client, number, timeout)
                value = other.call({"respond": number}, timeout=PROMPT)
                assert value == number, f"another client was disturbed: {script}"
    counts = other.call({"counts": 1})
    for number, what in told.items():
        allowed = {"ran": (1,), "not started": (0,)}.get(what, (0, 1))
        script = proxy.Script.of(fault, number // 100)
        assert counts.get(number, 0) in allowed, f"{what}, but: {counts.get(number, 0)}, {script}"
    if fault in proxy.HARMLESS:
        assert set(told.values()) == {"ran"}
    elif fault in proxy.LOSSES:
        assert "ran" in told.values()


@pytest.mark.parametrize("fault", ["truncate", "reset", "half-close"])
def test_call_ends_without_a_timeout_when_the_connection_does(
    way: Way, steady: Handle, fault: str
) -> None:
    """The kernel tells that a connection is over; no time limit is needed to hear of it."""
    for seed in SEEDS:
        script = proxy.Script.of(fault, seed)
        with proxy.proxy(steady.port, script, spoiled=2) as port, way.client(port) as client:
            outcomes = [_outcome(client, 1000 * seed + turn) for turn in range(20)]
        assert outcomes[-1] is None, f"the third connection is whole: {script}"
        assert any(outcomes), f"the fault was not met: {script}"


def _outcome(client: Client, number: int) -> BgpyError | None:
    try:
        assert client.call(request(number)) == right_answer(number)
    except BgpyError as error:
        return error
    return None


def test_handshake_fails_or_is_right_when_a_byte_is_corrupted(
    way: Way, steady: Handle, other: Client
) -> None:
    """No changed byte of hello, server hello or proof goes unnoticed; nothing is sent then."""
    for seed in range(16):
        script = proxy.Script.of("corrupt", seed)
        proved = {proxy.UP: 60 + 32, proxy.DOWN: 108}[script.way]
        script = script._replace(at=script.at % proved)
        with (
            proxy.proxy(steady.port, script, spoiled=2) as port,  # it is tried once more
            way.client(port, connect_timeout=1.0) as client,
            pytest.raises((*NOTHING_SENT, RemoteProtocolError)),
        ):
            pytest.fail(f"{client.call(request(seed))}: let through by {script}")
    assert other.call({"counts": 1}) == {}


def test_submitted_calls_end_once_each_when_the_network_is_faulty(
    way: Way, steady: Handle, other: Client
) -> None:
    """Of many calls under way each future ends, and what it says is true."""
    told: dict[int, BgpyError | None] = {}
    for seed in range(6):
        script = proxy.Script.of(proxy.LOSSES[seed % 3], seed)
        script = script._replace(at=1000 + script.at)
        numbers = range(100 * seed, 100 * seed + 100)
        with proxy.proxy(steady.port, script) as port, way.client(port) as client:
            futures = {}
            for number in numbers:
                futures[number] = client.submit(request(number))
                if number % 10 == 9:  # else all would leave, and be lost, as one piece of TLS
                    futures[number].exception(20.0)
            for number, future in futures.items():
                error = told[number] = future.exception(20.0)  # type: ignore[assignment]
                assert isinstance(error, (BgpyError, type(None))), script
                assert error is not None or future.result() == right_answer(number)
    assert {type(error) for error in told.values()} > {type(None)}
    counts = other.call({"counts": 1})
    for number, error in told.items():
        if error is None:
            assert counts[number] == 1
        else:
            assert counts.get(number, 0) <= (known(error) != "not started")
