"""Truths of SIGTERM and SIGINT: at a server, and at a client that waits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgpy import Client, Handle, ServerGone, respond
from tests.support.gate import Gate
from tests.support.peers import insist, wait_until
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def _nothing_yet() -> list[int]:
    return []


def _work(client_socket: Any, state: Any, args: dict[str, Any]) -> None:
    respond(client_socket, args["run"](state))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_the_task_finish_and_exit_task_run(
    start: Start, gate: Gate, tmp_path: Path, number: signal.Signals
) -> None:
    """The task that runs is answered, what is queued fails as not started, exit_task runs."""
    handle, client = start()
    left = tmp_path / "left"

    def leave(client_socket: Any, state: Any, args: Any) -> None:
        left.write_text(f"{state} {args}")

    client.initialize(lambda: "last", _work, leave)
    with Client(handle.host, handle.port) as other:
        runs = client.submit({"run": gate.passing("finished")})
        gate.wait()
        queued = other.submit({"run": count})
        # One client's requests arrive in order: when this is answered, the other is queued.
        assert other.execute({"run": count}) == {"message": "Received 'EXEC'"}
        os.kill(handle.pid, number)
        gate.open()
        assert runs.result() == "finished"
        error = queued.exception()
    assert isinstance(error, ServerGone)
    assert error.progress == "not started"
    assert handle.wait(30)
    assert left.read_text() == "last {'await_response': False}"


def _run_a_loop(state: Any) -> str:
    import asyncio
    import signal

    async def main() -> str:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
        return "ran"

    return asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_exit_task_runs_at_a_signal_after_a_task_that_ran_an_event_loop(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """The loop takes both handlers and leaves Python's; the server puts its own back."""
    handle, client = start()
    left = tmp_path / "left"
    client.initialize(lambda: "last", _work, lambda *args: left.write_text(args[1]))
    assert client.call({"run": _run_a_loop}) == "ran"
    assert client.call({"run": len}) == 4  # so the task before it has returned
    os.kill(handle.pid, number)
    assert handle.wait(30)
    assert left.read_text() == "last"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_server(start: Start, free_port: int, number: signal.Signals) -> None:
    """Also one without tasks, whose port is free when it is gone."""
    handle, _ = start(port=free_port)
    os.kill(handle.pid, number)
    assert handle.wait(30)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((handle.host, handle.port))


def test_second_signal_ends_the_server_at_once(start: Start, gate: Gate, free_port: int) -> None:
    """Though a task runs that never ends; the address can be had again."""
    handle, client = start(port=free_port)
    client.initialize(*TASKS)
    client.execute({"run": gate.passing()})
    gate.wait()
    insist(handle.pid, lambda: not handle.is_alive())
    assert handle.wait(30)
    assert start(port=handle.port)[0].is_alive()


CTRL_C = """
import sys
from bgpy import Client
from tests.support.gate import Passing
from tests.support.tasks.counting import TASKS, count
port, gate = int(sys.argv[1]), ("127.0.0.1", int(sys.argv[2]))
client = Client("127.0.0.1", port, timeout=None if sys.argv[3] == "none" else float(sys.argv[3]))
try:
    client.call({"run": Passing(gate, "late")})
except KeyboardInterrupt:
    print("interrupted", client.ping() > 0, flush=True)
print(client.call({"run": count}))
"""


@pytest.mark.parametrize("timeout", ["none", "60"])
def test_ctrl_c_ends_a_wait_and_the_client_is_usable_after(
    running: tuple[Handle, Client], gate: Gate, script: Script, timeout: str
) -> None:
    """`KeyboardInterrupt` at the call; the late reply is taken for no other call's."""
    handle, _ = running
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = script(CTRL_C, handle.port, gate.place[1], timeout, env=environment)
    gate.wait()
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted True\n"
    gate.open()
    output, errors = process.communicate()
    assert (output, errors) == ("1\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", None)])
def test_call_after_a_signal_is_refused_at_once(
    start: Start, gate: Gate, number: signal.Signals
) -> None:
    """While the task still runs: nobody waits for it, and no receipt is given."""
    handle, client = start()
    client.initialize(_nothing_yet, _work, lambda c, s, a: None)
    runs = client.submit({"run": gate.passing("finished")})
    gate.wait()
    os.kill(handle.pid, number)
    assert handle.log_file is not None
    log = Path(handle.log_file)
    wait_until(lambda: "received: the server ends" in log.read_text(), "the signal is seen")
    with Client(handle.host, handle.port) as other:
        other.ping()
        for call in (other.call, other.execute, client.call, client.execute):
            with pytest.raises(ServerGone, match="shutting down") as caught:
                call({"run": count})
            assert caught.value.progress == "not started"
            assert (caught.value.address, caught.value.pid) == (other.address, handle.pid)
            assert f"'kill -9 {handle.pid}' on its machine" in str(caught.value)
    gate.open()
    assert runs.result(60) == "finished"
    assert handle.wait(60)


def test_signal_lets_what_has_its_receipt_run(start: Start, gate: Gate, tmp_path: Path) -> None:
    """A receipt was a promise: before exit_task, in the order of the calls."""
    handle, client = start()
    left = tmp_path / "left"

    def add(client_socket: Any, state: list[int], args: dict[str, Any]) -> None:
        if "run" in args:
            args["run"](state)
        state.append(args["number"])

    def leave(client_socket: Any, state: list[int], args: Any) -> None:
        left.write_text(str(state))

    client.initialize(_nothing_yet, add, leave)
    client.execute({"run": gate.passing(None), "number": 0})
    gate.wait()
    for number in range(1, 50):
        assert client.execute({"number": number}) == {"message": "Received 'EXEC'"}
    os.kill(handle.pid, signal.SIGTERM)
    gate.open()
    assert handle.wait(60)
    assert left.read_text() == str(list(range(50)))
