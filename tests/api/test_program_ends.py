"""Truths of clients at the end of a program, or of their own: what has left runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest

from bgpy import Client, Handle, respond
from tests.support.builds import EMPTIED_FIRST, IMMORTAL
from tests.support.gate import Gate, pass_gate
from tests.support.peers import wait_until

TOKEN = "t" * 32
Script = Callable[..., "Popen[str]"]
Start = Callable[..., tuple[Handle, Client]]


def init() -> list[int]:
    return []


def execute(client_socket: Any, state: list[int], args: dict[str, Any]) -> list[int]:
    if "gate" in args:
        pass_gate(args["gate"])
    state.append(1)
    respond(client_socket, len(state) if "count" in args else args.get("data"))
    return state


def leave(client_socket: Any, state: list[int], args: dict[str, Any]) -> None: ...


@pytest.fixture
def served(start: Start) -> tuple[Handle, Client]:
    """An initialised server, and a client of it."""
    handle, client = start(token=TOKEN)
    client.initialize(init, execute, leave)
    return handle, client


BEGIN = f"""
import atexit, sys
from bgpy import Client
client = Client("127.0.0.1", int(sys.argv[1]), {TOKEN!r})
"""

SUBMITS = """
client.ping()
for number in range(1500):
    client.submit({"data": b"x" * 2000})
"""


@pytest.mark.parametrize("end", ["", "client.close()", "del client", "raise SystemExit"])
def test_all_that_was_submitted_runs_when_the_server_is_slow(
    served: tuple[Handle, Client], gate: Gate, script: Script, end: str
) -> None:
    """Also what the server's own unread replies would have the system throw away."""
    handle, client = served
    busy = client.submit({"gate": gate.place})
    gate.wait()
    process = script(BEGIN + SUBMITS + end, handle.port)
    time.sleep(0.2)  # the program may be over before a task ends, or not: both are right
    gate.open()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    busy.result(30)
    wait_until(lambda: client.call({"count": 1}) > 1500, "all have run")


ENDS = {
    "atexit before the first call": "atexit.register(client.terminate)",
    "atexit after a call": "client.ping()\natexit.register(client.terminate)",
    "atexit after a future": "client.submit({}).result()\natexit.register(client.terminate)",
    "__del__ of a global": """
class Holder:
    def __init__(self): self.client = client
    def __del__(self): self.client.terminate()
client.ping()
holder = Holder()
""",
    "__del__ of a circle": """
class Holder:
    def __init__(self): self.client, self.me = client, self
    def __del__(self): self.client.terminate()
client.submit({}).result()
holder = Holder()
""",
    "registered before bgpy was imported": """
client.submit({}).result()
""",
}


@pytest.mark.parametrize("text", ENDS.values(), ids=ENDS)
def test_server_can_be_ended_until_the_interpreter_is_gone(
    served: tuple[Handle, Client], script: Script, text: str
) -> None:
    """Whenever the program comes to it, and whatever it has done before."""
    if IMMORTAL and "__del__" in text:
        pytest.skip(EMPTIED_FIRST)
    handle, _ = served
    begin = BEGIN
    if text == ENDS["registered before bgpy was imported"]:
        begin = "import atexit\natexit.register(lambda: client.terminate())\n" + BEGIN
    _, errors = script(begin + text, handle.port).communicate(timeout=60)
    assert errors == ""
    assert handle.wait(30)


AT_THE_END = {
    "in a thread": """
import threading

def work():
    threading.main_thread().join()
    do()

threading.Thread(target=work).start()
""",
    "in atexit": "atexit.register(do)",
    "in atexit, registered first": "",
    "in __del__": """
class Late:
    def __del__(self):
        do()

late = Late()
late.do = do
""",
}

DO = """
def do():
    print(client.call({"count": 1}), client.submit({"count": 1}).result(), flush=True)
    client.execute({"data": 1})
    for _ in range(3):
        client.submit({"data": 1})
"""


@pytest.mark.parametrize("used", ["", "client.submit({}).result()"], ids=["unused", "used"])
@pytest.mark.parametrize("where", AT_THE_END)
def test_all_kinds_of_calls_run_at_the_end(
    served: tuple[Handle, Client], script: Script, where: str, used: str
) -> None:
    """Wherever a program makes them last, and whether its client was connected before or not."""
    if IMMORTAL and used and where == "in __del__":
        pytest.skip(EMPTIED_FIRST)
    handle, client = served
    begin = BEGIN
    if where == "in atexit, registered first":
        begin = "import atexit\natexit.register(lambda: do())\n" + BEGIN
    text = f"{begin}{DO}{used}\n{AT_THE_END[where]}"
    process = script(text, handle.port)
    before = 1 if used else 0
    assert process.communicate(timeout=60) == (f"{before + 1} {before + 2}\n", "")
    assert client.call({"count": 1}) == before + 7


FEW_THREADS = """
from bgpy.calling.blocking import threads
start, started = threads.start, []

def few(run, *args):
    if len(started) == 2:  # those for callbacks and for sending
        return False
    started.append(run)
    return start(run, *args)

threads.start = few
client.submit({"data": 1})
"""


def test_last_submit_runs_when_no_more_threads_can_be_started(
    served: tuple[Handle, Client], script: Script
) -> None:
    """As on 3.12.1, which starts none while the program ends: it waits for the one that sends."""
    handle, client = served
    for _ in range(4):
        _, errors = script(BEGIN + FEW_THREADS, handle.port).communicate(timeout=60)
        assert errors == ""
    assert client.call({"count": 1}) == 5


def test_program_says_so_when_it_ends_before_its_submits_were_sent(
    script: Script, free_port: int
) -> None:
    """Nobody is left who could ask the future."""
    output, errors = script(BEGIN + 'client.submit({"data": 1})', free_port).communicate(timeout=60)
    assert output == ""
    assert "1 submitted call was not sent: nothing runs at" in errors


SUBMITS_LATE = """
class Late:
    def __init__(self): self.client = client
    def __del__(self):
        assert self.client.submit({"count": 1}).result() == 2
        print("late", flush=True)
client.submit({}).result()
late = Late()
"""


@pytest.mark.skipif(IMMORTAL, reason=EMPTIED_FIRST)
def test_submit_gives_its_value_when_the_interpreter_is_ending(
    served: tuple[Handle, Client], script: Script
) -> None:
    """There is no other thread any more: it is called in this one."""
    output, errors = script(BEGIN + SUBMITS_LATE, served[0].port).communicate(timeout=60)
    assert (output, errors) == ("late\n", "")


TAKEN_DOWN = """
class Late:
    def __init__(self, write):
        self.write, self.error, self.client = write, Unreachable, client
        self.handle = Handle(started, terminate=lambda timeout: client.terminate())
        self.does = ["call", "submit", "execute", "initialize", "terminate", "ping", "close"]

    def __del__(self):
        for name in self.does:
            count = {"initialize": 3, "ping": 0, "close": 0}.get(name, 1)
            self.told(name, getattr(self.client, name), [{}] * count)
        for name in self.does[:-1]:
            count = {"initialize": 3, "ping": 0}.get(name, 1)
            self.told(f"{name} in time", getattr(self.client, name), [{}] * count, timeout=3)
        for name in ("is_alive", "wait", "stop", "kill"):
            self.told(name, getattr(self.handle, name), [])

    def told(self, name, does, args, **kwargs):
        try:
            does(*args, **kwargs)
        except self.error as error:
            self.write(f"{name}: {error}\\n")

from types import SimpleNamespace
from bgpy import Handle, Unreachable
started = SimpleNamespace(host="127.0.0.1", port=1, log_file=None, process=None)
client.ping()
sys.late = Late(sys.__stdout__.write)
"""


def test_calls_say_so_when_modules_have_been_taken_down(
    served: tuple[Handle, Client], script: Script
) -> None:
    """What `sys` holds lasts longer than modules: whatever is called, no name in them is left."""
    output, errors = script(BEGIN + TAKEN_DOWN, served[0].port).communicate(timeout=60)
    assert errors == ""
    told = dict(line.split(": ", 1) for line in output.splitlines())
    calls = ("call", "submit", "execute", "initialize", "terminate", "ping")
    assert [*told] == [
        *(*calls, "close"),
        *(f"{name} in time" for name in calls),
        *("is_alive", "wait", "stop", "kill"),
    ]
    assert all("taken bgpy's modules down" in each for each in told.values())


FORK = """
import os
from bgpy import ServerGone
future = client.submit({"gate": ("127.0.0.1", int(sys.argv[2])), "data": "mine"})
child = os.fork()
if not child:
    try:
        future.result(20)
    except ServerGone as error:
        print("child", error.progress, client.call({}, timeout=20), flush=True)
    os._exit(0)
print("parent", future.result(60), os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_future_of_the_parent_fails_in_a_forked_child(
    served: tuple[Handle, Client], gate: Gate, script: Script
) -> None:
    """Its answer goes to the parent, whose connection is not touched."""
    process = script(BEGIN + FORK, served[0].port, gate.place[1])
    gate.wait()
    assert process.stdout is not None
    gate.open()
    output, errors = process.communicate(timeout=60)
    assert sorted(output.splitlines()) == ["child unknown None", "parent mine 0"]
    assert errors == ""


TERMINATES = """
import os, signal
signal.signal(signal.SIGTERM, lambda number, frame: (client.terminate(), sys.exit(3)))
for number in range(int(sys.argv[2])):
    client.submit({})
    client.call({})
os.kill(os.getpid(), signal.SIGTERM)
while True:
    client.submit({})
    client.call({})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("count", [0, 7])
def test_handler_of_sigterm_may_terminate_the_server(
    served: tuple[Handle, Client], script: Script, count: int
) -> None:
    """Whatever the program is in the middle of."""
    process = script(BEGIN + TERMINATES, served[0].port, count, env={**os.environ})
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (3, "")
    assert served[0].wait(30)
