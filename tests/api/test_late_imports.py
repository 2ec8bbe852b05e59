"""Truths of what a client imports late: all of it where a fork waits for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest

from bgpy import Client, Server, respond
from tests.support.builds import EMPTIED_FIRST, IMMORTAL
from tests.support.tasks.counting import TASKS
from tests.support.ways import TLS, TOKEN

Script = Callable[..., "Popen[str]"]


def init() -> None: ...


def execute(client_socket: Any, state: None, args: dict[str, Any]) -> None:
    respond(client_socket, 0)


def leave(client_socket: Any, state: None, args: dict[str, Any]) -> None: ...


ALL_CALLS = """
import os, sys
from bgpy import BgpyError, Client, Handle
from bgpy import late
from tests.support.tasks.counting import TASKS, count

class Watch:
    unguarded = []
    def find_spec(self, name, path=None, target=None):
        if not late._lock._is_owned():
            self.unguarded.append(name)

address, tls = sys.argv[1], sys.argv[2] == "tls"
client = Client(address, tls=tls)
other = Client("nobody.invalid:5")
strange = Client("b\\xfccher.invalid:5", None, "a token")
sys.meta_path.insert(0, Watch())

def failing(state):
    raise KeyError(1)

client.ping()
client.initialize(*TASKS)
client.call({"run": count})
client.call({"run": lambda state: 1})
client.execute({"run": count})
client.submit({"run": count}).result()
for does in (
    lambda: client.call({"run": failing}),
    lambda: client.call({"run": sys._getframe()}),
    lambda: client.call({"run": count}, timeout=0),
    other.ping,
    strange.ping,
    lambda: client.terminate(timeout=20),
    client.ping,
):
    try:
        does()
    except (BgpyError, KeyError):
        pass
client.close()
print(Watch.unguarded)
"""


@pytest.mark.parametrize("way", ["tcp", "unix", "tls"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_client_imports_nothing_that_a_fork_does_not_wait_for(script: Script, way: str) -> None:
    """Whatever it calls, and whatever comes of it: the child of a fork can do the same."""
    if way == "tls":
        handle = TLS.server().run_background()
    else:
        handle = Server(*(("127.0.0.1", 0) if way == "tcp" else ())).run_background()
    token = {"BGPY_TOKEN": TOKEN} if way == "tls" else {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **token}
    try:
        process = script(ALL_CALLS, handle.address, way, env=environment)
        output, errors = process.communicate(timeout=60)
        assert (output, errors) == ("[]\n", "")
        assert handle.wait(20)
    finally:
        handle.kill()


FORKS = """
import os, signal, sys, threading, warnings
warnings.simplefilter("ignore")
from bgpy import Client
from tests.support.tasks.counting import count

client = Client(sys.argv[1], tls=sys.argv[2] == "tls", timeout=30)
went = threading.Event()

def work(call):
    went.set()
    for _ in range(50):
        call({"run": lambda state: 1})

threads = [
    threading.Thread(target=work, args=(call,))
    for call in (client.call, lambda args: client.submit(args).result(), client.execute)
]
for each in threads:
    each.start()
went.wait()
children = []
for _ in range(8):
    child = os.fork()
    if not child:
        signal.alarm(40)  # by default it ends the process
        try:
            assert client.call({"run": lambda state: 1}) == 1
            assert client.submit({"run": lambda state: 2}).result() == 2
            client.execute({"run": count})
            client.close()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
for each in threads:
    each.join()
"""


@pytest.mark.parametrize("way", ["unix", "tls"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_every_child_calls_when_forked_while_threads_make_first_calls(
    script: Script, way: str
) -> None:
    """Whatever the other threads were in the midst of when the program forked."""
    handle = (TLS.server() if way == "tls" else Server()).run_background()
    token = {"BGPY_TOKEN": TOKEN} if way == "tls" else {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **token}
    try:
        with Client(handle.address, token=TOKEN if token else None, tls=way == "tls") as client:
            client.initialize(*TASKS)
        process = script(FORKS, handle.address, way, env=environment)
        output, errors = process.communicate(timeout=100)
        assert (output, errors) == (f"{[0] * 8}\n", "")
    finally:
        handle.kill()


LATE = """
import sys
from bgpy import BgpyError, Client
client = Client(sys.argv[1], tls=sys.argv[2] == "tls", timeout=20)
class Late:
    def __init__(self, client): self.client = client
    def __del__(self):
        try:
            print(DO, flush=True)
        except BgpyError as error:
            print(type(error).__name__, error, flush=True)
FIRST
late = Late(client)
"""


@pytest.mark.parametrize("first", ["", "client.ping()"], ids=["unused", "used"])
@pytest.mark.parametrize(
    "do",
    [
        "self.client.call({})",
        "self.client.submit({}).result()",
        "self.client.execute({})",
    ],
)
@pytest.mark.parametrize("way", ["tcp", "tls"])
def test_del_calls_when_nothing_can_be_imported_any_more(
    script: Script, way: str, do: str, first: str
) -> None:
    """Modules are taken down by then; a client that was never used makes its first call."""
    if IMMORTAL and first:
        pytest.skip(EMPTIED_FIRST)
    server = Server("127.0.0.1", 0, tls=way == "tls" or None)
    handle = server.run_background()
    try:
        with Client(handle.address, None, server.token, tls=way == "tls" or None) as client:
            client.initialize(init, execute, leave)
        text = LATE.replace("DO", do).replace("FIRST", first)
        output, errors = script(text, handle.address, way).communicate(timeout=60)
        assert errors == ""
        assert output in ("0\n", "{'message': \"Received 'EXEC'\"}\n")
    finally:
        handle.kill()
