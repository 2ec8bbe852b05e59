"""Servers and clients that are stopped, killed, and short of descriptors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from bgpy import BgpyError, Client, ConnectError, Handle, Server, ServerGone, ServerRestarted
from tests.support.aftermath import PROMPT
from tests.support.peers import wait_until
from tests.support.tasks.troubled import TASKS, request, right_answer
from tests.support.ways import TOKEN, Way

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX")


def test_calls_end_right_when_the_server_is_stopped_and_continued(way: Way, steady: Handle) -> None:
    """Silence is no death: a call waits for as long as the process is there."""
    process = psutil.Process(steady.pid)
    with way.client(steady.port) as client:
        futures = [client.submit(request(number)) for number in range(200)]
        for _ in range(5):
            process.suspend()
            wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "it has stopped")
            futures += [client.submit(request(len(futures) + turn)) for turn in range(10)]
            process.resume()
        for number, future in enumerate(futures):
            assert future.result(20.0) == right_answer(number)


_CLIENT = """
import sys
from bgpy import Client
from tests.support.tasks.troubled import request, right_answer
port, token = int(sys.argv[1]), sys.stdin.readline().strip()
client = Client("127.0.0.1", port, token)
print("ready", flush=True)
for number in range(int(sys.argv[2]), 10**9):
    assert client.call(request(number)) == right_answer(number)
"""


@contextmanager
def calling(port: int, first: int) -> Iterator[subprocess.Popen[str]]:
    """A client in a process of its own that calls all the time."""
    with subprocess.Popen(
        [sys.executable, "-c", _CLIENT, str(port), str(first)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{TOKEN}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def test_others_are_served_when_a_calling_client_is_stopped_or_killed(
    way: Way, steady: Handle, other: Client
) -> None:
    """In the midst of its calls; the server serves on and keeps nothing of it."""
    for turn in range(2):
        first = 10**6 * (turn + 1)
        with calling(steady.port, first) as process:
            wait_until(lambda first=first: first in other.call({"counts": 1}), "it calls")
            for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL):
                process.send_signal(number)
                for own in range(10):
                    assert other.call(request(own), timeout=PROMPT) == right_answer(own)
    counts = other.call({"counts": 1})
    assert all(count == 1 for number, count in counts.items() if number >= 10**6)


def test_every_caller_hears_when_the_server_is_killed_amid_its_calls(
    way: Way, mortal: Handle
) -> None:
    """Threads, futures and later calls: each ends, and the next server is never taken for it."""
    clients = [way.client(mortal.port) for _ in range(4)]
    for client in clients:  # who never met the first server could not tell the next from it
        assert client.call(request(1)) == right_answer(1)
    ended: list[BaseException] = []

    def call_on(client: Client) -> None:
        try:
            for number in range(10**9):
                assert client.call(request(number)) == right_answer(number)
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=call_on, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    futures = [clients[0].submit(request(number)) for number in range(100)]
    assert futures[0].result(20.0) == right_answer(0)
    mortal.kill()
    for thread in threads:
        thread.join(20.0)
        assert not thread.is_alive(), "a caller waits for a server that is dead"
    # A thread that connects at that very moment finds nobody.
    assert all(isinstance(error, (ServerGone, ConnectError)) for error in ended), ended
    for future in futures:
        assert isinstance(future.exception(20.0), (ServerGone, type(None)))
    again = Server("127.0.0.1", mortal.port, TOKEN).run_background()
    try:
        for client in clients:
            with client, pytest.raises(ServerRestarted):
                client.call(request(1))
    finally:
        again.kill()


_SHORT = """
import os, resource, sys, traceback
from bgpy import BgpyError, Client, Server
port, token = int(sys.argv[1]), sys.stdin.readline().strip()
client = Client("127.0.0.1", port, token)
assert client.call({"respond": 1}) == 1
Server("127.0.0.1", 0).run_background().kill()  # which imports what it needs
free = os.dup(0)
os.close(free)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for more in range(16):
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
    for action in (Client("127.0.0.1", port, token).ping, Server("127.0.0.1", 0).run_background):
        try:
            done = action()
        except BgpyError as error:
            print("told", type(error).__name__)
        except BaseException:
            print("NOT DOCUMENTED", traceback.format_exc())
        else:
            if not isinstance(done, float):
                done.kill()
            print("done", more)
    assert client.call({"respond": more}) == more
"""


def test_client_and_launcher_say_so_when_they_are_short_of_descriptors(
    way: Way, steady: Handle
) -> None:
    """A documented error, whichever descriptor is the one too many; what is connected goes on."""
    done = subprocess.run(
        [sys.executable, "-c", _SHORT, str(steady.port)],
        input=f"{TOKEN}\n",
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NOT DOCUMENTED" not in done.stdout, done.stdout
    assert "told" in done.stdout
    assert "done" in done.stdout


def test_server_ends_in_order_when_it_is_stopped_while_clients_call(
    way: Way, mortal: Handle
) -> None:
    """SIGTERM in the midst of calls: each has run and was answered, or says what is known."""
    with way.client(mortal.port) as client:
        futures = [client.submit(request(number)) for number in range(500)]
        os.kill(mortal.pid, signal.SIGTERM)
        for number, future in enumerate(futures):
            error = future.exception(20.0)
            assert error is None or isinstance(error, BgpyError)
            assert error is not None or future.result() == right_answer(number)
    assert mortal.wait(20.0)


def test_tasks_are_the_ones_that_the_suite_means() -> None:
    """A request that was changed on its way is refused by the task itself."""
    args = request(1)
    args["data"] = b"changed"
    with pytest.raises(ValueError, match="not those"):
        TASKS[1](None, {}, args)  # type: ignore[arg-type]
