"""Truths of many clients, many threads, and processes that fork."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgpy import CallingSelf, Client, Handle
from tests.support.peers import wait_until
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]

forks = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")


def _double(number: int) -> Callable[[Any], int]:
    return lambda state: number * 2


def test_threads_of_one_client_get_each_their_own_answer(client: Client) -> None:
    """Calls from several threads share the connection and are not confused."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.call({"run": _double(n)}), range(200)))
    assert answers == [2 * number for number in range(200)]
    assert client.call({"run": count}) == 200


def test_fifty_clients_at_once_add_up(running: tuple[Handle, Client]) -> None:
    """Nothing is lost and nothing runs twice."""
    handle, client = running
    barrier = threading.Barrier(50)

    def work(number: int) -> list[int]:
        with Client(handle.host, handle.port) as mine:
            barrier.wait()
            for _ in range(10):
                mine.execute({"run": count})
            return [mine.call({"run": count}) for _ in range(10)]

    with ThreadPoolExecutor(50) as pool:
        seen = list(pool.map(work, range(50)))
    assert client.call({"run": count}) == 50 * 20
    # Each call saw a state of its own, and each client's own calls in order.
    assert len({each for one in seen for each in one}) == 500
    assert all(one == sorted(one) for one in seen)


def test_client_processes_at_once_add_up(running: tuple[Handle, Client], script: Script) -> None:
    """The same from processes of their own."""
    handle, client = running
    text = (
        "import sys\nfrom bgpy import Client\nfrom tests.support.tasks.counting import count\n"
        "with Client('127.0.0.1', int(sys.argv[1])) as client:\n"
        "    for _ in range(25): client.execute({'run': count})\n"
        "    client.call({'run': count})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    clients = [script(text, handle.port, env=environment) for _ in range(10)]
    assert [(each.communicate()[1], each.returncode) for each in clients] == [("", 0)] * 10
    assert client.call({"run": count}) == 260


FORK = """
import os, sys, warnings
from bgpy import Client
from tests.support.tasks.counting import count
client = Client('127.0.0.1', int(sys.argv[1]))
client.call({'run': count})
child = os.fork()
for _ in range(20):
    client.call({'run': count})
if not child:
    client.close()
    os._exit(0)
status = os.waitpid(child, 0)[1]
client.call({'run': count})
print(status, client.call({'run': count}))
"""


@forks
def test_forked_client_opens_a_connection_of_its_own(
    running: tuple[Handle, Client], script: Script
) -> None:
    """Parent and child use the client they share by birth, without a word to each other."""
    handle, _ = running
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output, errors = script(FORK, handle.port, env=environment).communicate()
    assert (output.split(), errors) == (["0", "42"], "")


@forks
def test_task_that_forks_is_not_noticed_by_clients(running: tuple[Handle, Client]) -> None:
    """The child ends when the task returns; the parent's clients go on undisturbed."""
    handle, client = running

    def fork(state: Any) -> tuple[bool, int]:
        child = os.fork()
        return (bool(child), os.waitpid(child, 0)[1]) if child else (False, -1)

    with Client(handle.host, handle.port) as other:
        assert other.call({"run": count}) == 0
        for _ in range(5):
            assert client.call({"run": fork}) == (True, 0)
        assert other.call({"run": count}) == 6
    assert client.call({"run": count}) == 7


@forks
def test_task_whose_forked_child_raises_is_not_noticed_by_clients(client: Client) -> None:
    """What a child raises ends the child alone."""

    def fork(state: Any) -> int:
        child = os.fork()
        if not child:
            raise SystemExit("the child leaves")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert client.call({"run": fork}) == 1
    assert client.call({"run": count}) == 1


@forks
@pytest.mark.parametrize(("left", "code"), [(None, 0), (0, 0), (4, 4), ("words", 1)])
def test_forked_child_of_a_task_leaves_as_it_says(client: Client, left: Any, code: int) -> None:
    """By `sys.exit`, as any process."""

    def fork(state: Any) -> int:
        child = os.fork()
        if not child:
            sys.exit(left)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert client.call({"run": fork}) == code


@forks
@pytest.mark.parametrize("leaves", [True, False])
def test_child_that_a_signal_handler_forks_while_nothing_runs_ends(
    running: tuple[Handle, Client], leaves: bool
) -> None:
    """Where the handler leaves, and where it returns into the server's loop; nobody notices."""
    handle, client = running

    def arm(state: Any) -> None:
        def fork(number: int, frame: object) -> None:
            child = os.fork()
            if child:
                children.append(child)
            elif leaves:
                sys.exit(4)

        children: list[int] = []
        signal.children = children  # type: ignore[attr-defined]
        signal.signal(signal.SIGUSR1, fork)

    def ended(state: Any) -> int | None:
        children: list[int] = signal.children  # type: ignore[attr-defined]
        child, status = os.waitpid(children[0], os.WNOHANG) if children else (0, 0)
        return os.waitstatus_to_exitcode(status) if child else None

    client.call({"run": arm})
    os.kill(handle.pid, signal.SIGUSR1)
    codes: list[int] = []

    def has_ended() -> bool:
        code = client.call({"run": ended})
        codes.extend([] if code is None else [code])
        return bool(codes)

    wait_until(has_ended, "the child ends")
    assert codes == [4 if leaves else 0]
    client.ping()


@forks
def test_child_that_outlives_the_server_does_not_hold_its_port(
    start: Start, free_port: int
) -> None:
    """A forked child has given back listener, connections and lock."""
    handle, client = start(port=free_port)
    client.initialize(*TASKS)

    def fork(state: Any) -> int:
        child = os.fork()
        if not child:
            import time

            time.sleep(60)
        return child

    child = client.call({"run": fork})
    client.terminate()
    try:
        assert start(port=handle.port)[0].port == handle.port
    finally:
        os.kill(child, 9)


def test_task_that_waits_for_its_own_server_gets_calling_self(
    running: tuple[Handle, Client],
) -> None:
    """Waiting for itself could never end; it is an error at once."""
    handle, client = running

    def call_itself(state: Any, port: int = handle.port) -> None:
        with Client("127.0.0.1", port) as itself:
            itself.call({"run": count})

    with pytest.raises(CallingSelf):
        client.call({"run": call_itself})
    assert client.call({"run": count}) == 0


def test_task_that_waits_for_a_future_of_its_own_server_is_told_that_the_call_will_run(
    running: tuple[Handle, Client],
) -> None:
    """It is queued already: who repeated it as not started would have it twice."""
    handle, client = running

    def note(state: Any) -> None:
        state["noted"] = True

    def wait_for_itself(state: Any, port: int = handle.port) -> None:
        state["client"] = Client("127.0.0.1", port)  # kept: what it has queued stays
        state["client"].submit({"run": note}).result(30)

    with pytest.raises(CallingSelf, match="stays queued, and runs after this task") as caught:
        client.call({"run": wait_for_itself})
    assert caught.value.progress == "unknown"
    wait_until(lambda: client.call({"run": lambda state: "noted" in state}), "it has run")


def test_task_may_queue_a_call_to_its_own_server(running: tuple[Handle, Client]) -> None:
    """What it doesn't wait for is queued behind it."""
    handle, client = running

    def queue(state: Any, port: int = handle.port) -> Any:
        with Client("127.0.0.1", port) as itself:
            return itself.execute({"run": count})

    assert client.call({"run": queue}) == {"message": "Received 'EXEC'"}
    # The one that was queued runs before or after this call, and then both have.
    client.call({"run": count})
    assert client.call({"run": count}) >= 2


def test_task_may_call_another_server(start: Start, running: tuple[Handle, Client]) -> None:
    """Only the own server is out of reach."""
    _, client = running
    other, initializer = start()
    initializer.initialize(*TASKS)

    def ask(state: Any, port: int = other.port) -> Any:
        with Client("127.0.0.1", port) as asked:
            return asked.call({"run": lambda state: "from the other"})

    assert client.call({"run": ask}) == "from the other"
