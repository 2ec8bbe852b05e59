"""Truths of a client as an object: what it is made of, where it can go, and its closing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import ArgumentError, Client, EncodeError, Handle, respond
from bgpy.system import processes
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]


def test_client_tells_its_address_whichever_way_it_was_given() -> None:
    """In one string, and in the two parts of 0.3.1."""
    for client in (Client("127.0.0.1", 5), Client("localhost:5"), Client("", 5)):
        assert (client.address, client.host, client.port) == ("127.0.0.1:5", "127.0.0.1", 5)
        assert repr(client) == "<Client of 127.0.0.1:5>"
    assert Client("unix:/run/me").address == "unix:/run/me"


def test_call_says_which_of_its_arguments_can_not_travel(client: Client) -> None:
    """Futures, and what a task holds of its caller."""
    future = client.submit({"run": count})
    with pytest.raises(EncodeError, match=r"args\['it'\] can't be sent: .*send its result\(\)"):
        client.call({"it": future})
    future.result(20)


class Asked:
    """In the place of a connection's short road: it takes what it is asked to, or nothing."""

    def __init__(self, takes: bool) -> None:
        self.takes = takes
        self.calls: list[object] = []

    def call(self, head: bytes, timeout: float | None) -> bytearray | None:
        self.calls.append((pickle.loads(head), timeout))
        return bytearray(pickle.dumps("short")) if self.takes else None


@pytest.mark.parametrize("takes", [True, False])
def test_small_calls_take_the_short_road_where_it_takes_them(
    client: Client, takes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else goes by the general one, and so does what the short one leaves."""
    shortcut = Asked(takes)
    client.call({"run": count})
    monkeypatch.setattr(client._caller.connector, "shortcut", shortcut)
    monkeypatch.setattr(client._caller.connector, "open_shortcut", lambda channel: None)
    if takes:
        assert client.call({}, timeout=7.0) == "short"
    else:
        with pytest.raises(KeyError, match="run"):  # of the task's
            client.call({}, timeout=7.0)
    assert shortcut.calls == [({}, 7.0)]
    assert client.call({"run": count}) != "short"
    assert len(shortcut.calls) == 1


def test_respond_says_why_its_client_socket_can_not_travel(start: Start) -> None:
    """As a response, now or later; and what is none is named."""
    _, client = start()

    def said(function: Callable[..., object], *args: object) -> str:
        try:
            function(*args)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    def execute(client_socket: Any, state: None, args: dict[str, Any]) -> None:
        deferred = client_socket.defer()
        respond(
            deferred,
            [
                said(respond, None, 1),
                said(pickle.dumps, client_socket),
                said(pickle.dumps, deferred),
            ],
        )

    client.initialize(lambda: None, execute, lambda socket, state, args: None)
    none, socket, deferred = client.call({})
    assert none == (
        "TypeError: client_socket must be the one that the task was called with, not NoneType"
    )
    assert socket.startswith("TypeError: a client socket can't be pickled")
    assert deferred == socket


def test_handle_can_be_pickled(start: Start) -> None:
    """Another process of this machine sees the same server."""
    handle, _ = start()
    other = pickle.loads(pickle.dumps(handle))
    assert (other.address, other.pid, other.is_alive()) == (handle.address, handle.pid, True)
    assert other.stop(20)
    assert not handle.is_alive()


@pytest.mark.parametrize("name", ["args", "exit_args"])
def test_client_shows_how_to_wrap_what_is_no_dict(client: Client, name: str) -> None:
    """The message is one to copy from."""
    call: Any = client.call if name == "args" else client.terminate
    with pytest.raises(TypeError, match=f'^{name} must be a dict, not list.*{{"value": ...}}'):
        call([1])


def test_closed_client_connects_again_when_it_is_used(running: tuple[Handle, Client]) -> None:
    """Closing ends the connection, and not the client."""
    _, client = running
    with client:
        assert client.call({"run": count}) == 0
    assert client.call({"run": count}) == 1
    client.close()
    client.close()
    assert client.submit({"run": count}).result(20) == 2


def test_client_claims_nothing_of_a_process_that_is_hidden(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``/proc`` shows it to nobody: calls are answered, and its end is seen by its port."""

    def unseen(pid: int) -> str:
        raise processes.Unseen(pid)

    handle, client = start()
    with monkeypatch.context() as patch:
        patch.setattr(processes, "start_time", unseen)
        client.initialize(*TASKS)
        assert client.call({"run": count}) == 0
        assert client.submit({"run": count}).result(20) == 1
        assert client.ping(timeout=20) > 0
        assert client.terminate(timeout=30) == {"message": "Received 'EXIT'"}
    assert handle.wait(20)


def test_log_that_can_not_be_written_is_refused_at_once(tmp_path: Path) -> None:
    """Not when its first message comes, which may be never; one that can is made by that."""
    for path in (tmp_path / "none" / "x.log", tmp_path):
        with pytest.raises(ArgumentError, match="can't be written"):
            Client("127.0.0.1", 1, log_file=path)
    Client("127.0.0.1", 1, log_file=tmp_path / "x.log")
    assert not (tmp_path / "x.log").exists()
