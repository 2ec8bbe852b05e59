"""Rows of small calls, which come together and run one by one, in a real server.

A row is what one send brings where the server has nothing else to do; a client's futures leave so.
"""

from __future__ import annotations

import json
import pickle
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgpy import CallTimeout, Client, Handle, Server, respond
from bgpy.config import ENV_ROAD
from bgpy.wire.messages import (
    Cancel,
    Execute,
    Failure,
    Message,
    Reason,
    Reply,
    Stage,
    Status,
    stage_of,
)
from tests.support.gate import Gate, pass_gate
from tests.support.peer import Peer
from tests.support.peers import connect

LARGE = 300_000


def _init() -> dict[str, Any]:
    return {"ran": [], "deferred": None}


def _exec(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None:
    state["ran"].append(args.get("value"))
    if "gate" in args:
        pass_gate(args["gate"])
    if "sleep" in args:
        time.sleep(args["sleep"])
    match args.get("do"):
        case "raise":
            raise KeyError("why")
        case "nothing":
            return
        case "defer":
            state["deferred"] = client_socket.defer()
        case "answer":
            state["deferred"].respond("later")
            respond(client_socket, "answered")
        case "large":
            respond(client_socket, bytes(LARGE))
        case "lambda":
            respond(client_socket, lambda: 5)
        case "error":
            respond(client_socket, "sorry", error=True)
        case "ran":
            respond(client_socket, state["ran"])
        case "how":
            frame, names = sys._getframe(), []
            while frame is not None:
                names.append(frame.f_code.co_name)
                frame = frame.f_back
            respond(client_socket, "_run_row" in names)
        case _:
            respond(client_socket, args.get("value"))


def _exit(client_socket: Any, state: dict[str, Any], args: dict[str, Any]) -> None: ...


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Handle, str]]:
    """A server with tasks, and its token; of all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BGPY_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv(ENV_ROAD, raising=False)
        server = Server("127.0.0.1", 0)
        handle = server.run_background()
    try:
        assert server.token is not None
        with Client(handle.address, token=server.token) as client:
            client.initialize(_init, _exec, _exit)
        yield handle, server.token
    finally:
        handle.kill()


class Asker(Peer):
    """A client whose calls leave together, and which keeps what came for each."""

    def __init__(self, handle: Handle, token: str) -> None:
        super().__init__(connect(handle.port), token, secrets.token_bytes(16))
        self.shake_hands()
        self.last = 0

    def send_row(self, *calls: dict[str, Any]) -> list[int]:
        """Their numbers."""
        numbers = [self.last + 1 + at for at in range(len(calls))]
        self.last += len(calls)
        pickles = [pickle.dumps(call, 5) for call in calls]
        pairs = zip(numbers, pickles, strict=True)
        self.send_together(*(Execute(number, head, wait=True) for number, head in pairs))
        return numbers

    def values(self, count: int) -> list[tuple[int, Any]]:
        """What came next, in its order."""
        return [(message.request, _value(message)) for message in self.read(count)]

    def run(self, *calls: dict[str, Any]) -> list[Any]:
        """What came for each, whatever the order was."""
        numbers = self.send_row(*calls)
        came = dict(self.values(len(calls)))
        return [came[number] for number in numbers]


def _value(message: Message) -> Any:
    """What a caller would get; the reason of a failure."""
    if isinstance(message, Reply):
        assert not message.buffers
        return pickle.loads(bytes(message.head))
    return message.reason if isinstance(message, Failure) else message


@pytest.fixture
def ask(lent: tuple[Handle, str]) -> Iterator[Callable[[], Asker]]:
    """Connect one more."""
    made: list[Asker] = []

    def connected() -> Asker:
        made.append(Asker(*lent))
        return made[-1]

    yield connected
    for each in made:
        each.sock.close()


def _begin_row(asker: Asker, *calls: dict[str, Any]) -> list[int]:
    """Their numbers; they run as a row, since the server has nothing else to do."""
    for _ in range(1000):
        if asker.run({"do": "how"}, {"do": "how"}) == [True, True]:
            return asker.send_row(*calls)
    raise AssertionError("what comes together never ran as a row")


def test_rows_of_several_clients_are_answered_each_in_its_order(ask: Callable[[], Asker]) -> None:
    """Those of one client together, and nobody gets another's."""
    askers = [ask() for _ in range(4)]
    _begin_row(askers[0])
    for size in (1, 2, 15, 16, 17, 60):
        numbers = [
            asker.send_row(*({"value": (at, number)} for number in range(size)))
            for at, asker in enumerate(askers)
        ]
        for at, asker in enumerate(askers):
            expected = [(number, (at, index)) for index, number in enumerate(numbers[at])]
            assert asker.values(size) == expected


def test_earlier_replies_of_a_row_come_while_a_long_task_runs(
    ask: Callable[[], Asker], gate: Gate
) -> None:
    """The standby takes over, and sends them; what is behind runs afterwards."""
    asker = ask()
    first, second, long, after, last = _begin_row(
        asker, {"value": 1}, {"value": 2}, {"gate": gate.place}, {"value": 4}, {"value": 5}
    )
    gate.wait()
    assert asker.values(2) == [(first, 1), (second, 2)]
    assert not asker.inbox
    gate.open()
    assert asker.values(3) == [(long, None), (after, 4), (last, 5)]


def test_call_in_a_row_is_withdrawn_before_its_turn(ask: Callable[[], Asker], gate: Gate) -> None:
    """Also where the one before it runs; what runs already is not."""
    asker = ask()
    running, withdrawn, after = _begin_row(
        asker, {"gate": gate.place, "value": "a"}, {"value": "withdrawn"}, {"value": "b"}
    )
    gate.wait()
    asker.send_together(Cancel(900, running), Cancel(901, withdrawn))
    told = asker.read(2)
    assert all(isinstance(each, Status) for each in told)
    stages = [stage_of(each.text) for each in told if isinstance(each, Status)]
    assert stages == [Stage.RUNNING, Stage.WITHDRAWN]
    gate.open()
    assert asker.values(2) == [(running, "a"), (after, "b")]
    assert "withdrawn" not in asker.run({"do": "ran"})[0]


def test_status_tells_of_a_row_that_runs(ask: Callable[[], Asker], gate: Gate) -> None:
    """What is left of it is queued, for whoever asks."""
    asker, other = ask(), ask()
    numbers = _begin_row(asker, {"gate": gate.place}, *[{"value": 1}] * 6)
    gate.wait()
    other.send(Status(1))
    (status,) = other.read(1)
    gate.open()
    assert isinstance(status, Status)
    assert json.loads(status.text)["queued"] == 6
    assert [number for number, _ in asker.values(7)] == numbers


def test_row_of_a_client_that_has_gone_runs_and_others_are_served(
    ask: Callable[[], Asker], gate: Gate
) -> None:
    """Its replies go nowhere."""
    asker, other = ask(), ask()
    _begin_row(asker, {"value": 1}, {"gate": gate.place}, {"value": "of who has gone"})
    gate.wait()
    asker.sock.close()
    gate.open()
    assert other.run({"value": 1}, {"value": 2}) == [1, 2]
    (ran,) = other.run({"do": "ran"})
    assert "of who has gone" in ran


def test_row_is_answered_whatever_its_tasks_do(ask: Callable[[], Asker]) -> None:
    """Raise, respond with something large, not at all, later or not plainly."""
    asker = ask()
    assert asker.run({"value": 0}) == [0]
    for _ in range(3):
        numbers = _begin_row(
            asker,
            {"value": 1},
            {"do": "raise"},
            {"value": 2},
            {"do": "large"},
            {"do": "nothing"},
            {"do": "defer"},
            {"value": 3},
            {"do": "error"},
            {"do": "answer"},
            {"value": 4},
        )
        came = dict(asker.values(10))
        reasons = Reason.TASK, Reason.NO_RESPONSE
        assert [came[number] for number in numbers] == [
            1, reasons[0], 2, bytes(LARGE), reasons[1], "later", 3, "sorry", "answered", 4
        ]  # fmt: skip


def test_row_that_is_larger_than_a_line_is_answered_whole(ask: Callable[[], Asker]) -> None:
    """The client is read on when there is room again."""
    asker = ask()
    count = 5000
    numbers = _begin_row(asker, *({"value": number} for number in range(count)))
    assert asker.values(count) == list(zip(numbers, range(count), strict=True))


def test_futures_and_calls_whose_time_is_over_leave_the_others_theirs(
    lent: tuple[Handle, str],
) -> None:
    """Of a real client, whose futures come as rows."""
    handle, token = lent
    with Client(handle.address, token=token) as client, ThreadPoolExecutor(4) as pool:
        for turn in range(5):
            futures = [
                client.submit({"value": number, "sleep": 0.2 * (number == 20)})
                for number in range(40)
            ]
            late = [
                pool.submit(client.call, {"value": f"late {turn}"}, timeout=0.05) for _ in range(4)
            ]
            assert [future.result(30) for future in futures] == list(range(40))
            for each in late:
                try:
                    assert each.result(30) == f"late {turn}"
                except CallTimeout:
                    pass
            assert client.call({"value": "next"}) == "next"
