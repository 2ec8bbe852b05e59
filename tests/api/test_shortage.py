"""Truths of a client without file descriptors: each call says so, and later ones succeed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from subprocess import Popen

import pytest

from bgpy import Client, Handle, Server
from tests.support.tasks.counting import TASKS

Script = Callable[..., "Popen[str]"]
Start = Callable[..., tuple[Handle, Client]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")

BEGIN = """
import os, resource, sys, traceback
from bgpy import BgpyError, Client, ConnectError
from tests.support.tasks.counting import TASKS, count

def fill(free):
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(free):
        os.close(held.pop())
    return held

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""

MATRIX = """
PLACES = [(sys.argv[1], None), (sys.argv[2], None), (sys.argv[3], True)]
CALLS = {
    "call": lambda client: client.call({"run": count}),
    "by value": lambda client: client.call({"run": lambda state: 1}),
    "execute": lambda client: client.execute({"run": count}),
    "submit": lambda client: client.submit({"run": count}).result(),
    "ping": lambda client: client.ping(),
    "initialize": lambda client: client.initialize(*TASKS),
}

def in_child(free):
    wrong = []
    for place, tls in PLACES:
        for name, call in CALLS.items():
            held = fill(free)
            client = Client(place, tls=tls, timeout=30)
            try:
                call(client)
            except ConnectError as error:
                if "descriptor" not in str(error) or "ulimit -n" not in str(error.advice):
                    wrong.append((free, place, name, repr(error)))
            except BaseException as error:
                wrong.append((free, place, name, traceback.format_exc()))
            else:
                if not free:
                    wrong.append((free, place, name, "nothing raised"))
            for each in held:
                os.close(each)
            call(client)  # which goes through now
            client.close()
    return wrong

for free in range(7):
    child = os.fork()  # so that nothing is imported yet
    if not child:
        try:
            for each in in_child(free):
                print(*each, flush=True)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.waitpid(child, 0)
"""

CONNECTED = """
client = Client(sys.argv[1], timeout=30)
client.call({"run": count})
held = fill(0)
print(client.call({"run": count}), client.submit({"run": count}).result())
print(client.terminate()["message"])
for each in held:
    os.close(each)
"""


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def test_call_is_a_connect_error_when_no_descriptor_is_free(start: Start, script: Script) -> None:
    """On every way, whatever it is that needs a descriptor: socket, token, lock, module."""
    places = []
    handles = [
        start()[0],
        Server().run_background(),
        Server("127.0.0.1", 0, tls=True).run_background(),
    ]
    try:
        for handle in handles:
            tls = True if handle is handles[2] else None
            with Client(handle.address, tls=tls) as client:
                client.initialize(*TASKS)
            places.append(handle.address)
        process = script(BEGIN + MATRIX, *places, env=_environment())
        assert process.communicate(timeout=100) == ("", "")
    finally:
        for handle in handles:
            handle.kill()


def test_connected_client_needs_no_descriptor(
    running: tuple[Handle, Client], script: Script
) -> None:
    """It calls, and sees its server's process end, with what it has."""
    handle, _ = running
    process = script(BEGIN + CONNECTED, handle.address, env=_environment())
    assert process.communicate(timeout=60) == ("1 2\nReceived 'EXIT'\n", "")
    assert handle.wait(20)
