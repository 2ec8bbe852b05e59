"""Truths of a server for a test: it is there at once, and ends whatever happens."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bgpy import CallTimeout, Handle, NotInitialized, respond
from bgpy.testing import running_server


def init_task() -> dict[str, int]:
    return {"value": 1}


def exec_task(client_socket: Any, state: dict[str, int], args: dict[str, Any]) -> None:
    if "hang" in args:
        threading.Event().wait()
    state["value"] += args["add"]
    respond(client_socket, state["value"])


def exit_task(client_socket: Any, state: dict[str, int], args: dict[str, Any]) -> None:
    print("exit task at", state["value"], flush=True)
    if state["value"] <= 0:
        raise LookupError("at the end")


def test_server_has_its_tasks_and_ends_in_order_when_the_block_does() -> None:
    """`exit_task` runs, and the process is gone."""
    with running_server(init_task, exec_task, exit_task) as (client, handle):
        assert client.call({"add": 2}) == 3
        assert handle.is_alive()
    assert not handle.is_alive()
    assert "exit task at 3" in Path(handle.log_file or "").read_text("utf-8")


def test_server_takes_the_options_of_a_server() -> None:
    """And no tasks need be given: the test may give them itself, or an init file."""
    with running_server(host="127.0.0.1", port=0, tls=True, timeout=20) as (client, handle):
        with pytest.raises(NotInitialized):
            client.call({"add": 1})
        client.initialize(init_task, exec_task, exit_task)
        assert client.call({"add": 1}) == 2
        assert handle.address.startswith("127.0.0.1:")


def test_failure_of_the_block_comes_out_and_the_server_ends() -> None:
    """What failed in the test is what the test shows, even if the end fails as well."""
    with (
        pytest.raises(ZeroDivisionError),
        running_server(init_task, exec_task, exit_task) as (client, handle),
    ):
        1 / client.call({"add": -1})
    assert not handle.is_alive()


def test_failure_of_exit_task_comes_out() -> None:
    """An end that fails is a failure of the test."""
    with (
        pytest.raises(LookupError, match="at the end"),
        running_server(init_task, exec_task, exit_task) as (client, handle),
    ):
        client.call({"add": -5})
    assert not handle.is_alive()


def test_task_that_hangs_costs_the_time_limit_and_its_server() -> None:
    """Neither a call nor the end waits longer, and the process is gone."""
    with (
        pytest.raises(TimeoutError, match=r"is killed: .*a call of another client is running"),
        running_server(init_task, exec_task, exit_task, timeout=3.0) as (client, handle),
        pytest.raises(CallTimeout),
    ):
        client.call({"hang": True}, timeout=0.1)
    assert not handle.is_alive()


def test_exit_task_that_hangs_is_told_as_what_it_is() -> None:
    """Not as a task: who looks for one that hangs would look in vain."""
    with (
        pytest.raises(TimeoutError, match=r"within 1 s, and is killed: .* exit_task has started"),
        running_server(init_task, exec_task, lambda *_: threading.Event().wait(), timeout=1),
    ):
        pass


def test_server_that_a_test_kills_itself_is_no_failure() -> None:
    """Tests of what callers meet when a server dies end as others do."""
    with running_server(init_task, exec_task, exit_task) as (_, handle):
        handle.kill()


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_server_ends_with_the_process_of_its_test(
    end: str, script: Callable[..., subprocess.Popen[str]]
) -> None:
    """However that process ends: nothing of it has to run."""
    process = script(f"""
import os, signal
from bgpy.testing import running_server
with running_server() as (client, handle):
    print(handle.pid, flush=True)
    input()
    {end}
""")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert psutil.pid_exists(pid)
    process.communicate("\n", timeout=60)
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=60)
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("end", ["pass", "os._exit(3)"])
def test_server_ends_though_a_child_of_the_test_goes_on(
    end: str, script: Callable[..., subprocess.Popen[str]]
) -> None:
    """Neither the block nor the server waits for what the test has forked."""
    process = script(f"""
import os, time
from bgpy.testing import running_server
with running_server() as (client, handle):
    child = os.fork()
    if not child:
        os.close(1)
        os.close(2)
        time.sleep(600)
        os._exit(0)
    print(handle.pid, child, flush=True)
    {end}
""")
    assert process.stdout is not None
    pid, child = map(int, process.stdout.readline().split())
    try:
        assert process.wait(60) in (0, 3)
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=60)
        assert not psutil.pid_exists(pid)
        assert psutil.pid_exists(child)
    finally:
        psutil.Process(child).kill()


def test_server_that_others_can_reach_is_called_as_it_wants() -> None:
    """By TLS where it refuses all else."""
    with running_server(
        init_task, exec_task, exit_task, host="0.0.0.0", port=0, plain_loopback=False
    ) as (client, _):
        assert client.call({"add": 2}) == 3


def test_testing_does_not_import_pytest() -> None:
    """Only the module with the fixture does."""
    code = "import sys, bgpy.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_handle_is_of_the_server_that_the_client_calls() -> None:
    """Both halves of what the block gets belong together."""
    with running_server(init_task, exec_task, exit_task) as served:
        assert isinstance(served.handle, Handle)
        assert served.client.address == served.handle.address
