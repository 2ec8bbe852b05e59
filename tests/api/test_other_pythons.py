"""A client of one Python and a server of another: data, exceptions and futures are the same.

The other Pythons are those of this machine that `tools.other_pythons` finds. They need nothing
installed: what bgpy imports for this is written in Python, and is lent to them.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import cloudpickle
import platformdirs
import pytest

from bgpy import Client, Server
from bgpy.system.processes import ProcessId
from tools.other_pythons import others

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere bgpy needs psutil")

ROOT = Path(__file__).parents[2]
TOKEN = "of-mixed-pairs-and-long-enough-not-to-be-stretched"

USE = """
import re, sys
from bgpy import Client, PythonMismatch
from tests.support.tasks.mixed import TASKS, VALUES, Odd

def use(client, same):
    client.initialize(*TASKS)
    got = [client.call({"value": value}) for value in VALUES]
    assert got == VALUES and list(map(type, got)) == list(map(type, VALUES)), got
    futures = [client.submit({"value": number}) for number in range(9)]
    assert [each.result(60) for each in futures] == [*range(9)]
    try:
        client.call({"raise": "pattern"})
    except re.error as error:
        assert "unterminated" in str(error), error
    else:
        raise AssertionError
    try:
        client.call({"raise": "group"})
    except* ValueError as one:
        assert str(one.exceptions[0]) == "one"
    except* KeyError as two:
        assert len(two.exceptions) == 1
    try:
        client.call({"raise": "odd"})
    except Odd as error:
        assert error.keys == {"a"}, error
    else:
        raise AssertionError
    if not same:
        try:
            client.call({"value": lambda: 1})
        except PythonMismatch as error:
            assert "into a module" in str(error), error
        else:
            raise AssertionError
    assert client.terminate(await_response=True) >= len(VALUES) + 9
"""

SERVER = """
import sys
from bgpy import Server
handle = Server("127.0.0.1", 0, sys.argv[1]).run_background()
print(handle.port, handle.pid, *sys.version_info[:2])
"""

CLIENT = """
with Client("127.0.0.1", int(sys.argv[2]), sys.argv[1]) as client:
    use(client, sys.version_info[:2] == tuple(map(int, sys.argv[3:])))
print("done")
"""


@functools.cache
def _others() -> list[str]:
    found = others()
    if not found:
        pytest.skip(
            "this machine has no other CPython that bgpy supports (BGPY_PYTHONS names them)"
        )
    return found


def _run(python: str, folder: Path, code: str, *args: object) -> str:
    """Run code in another Python that sees bgpy, the tests and what both need; what it prints."""
    for package in (cloudpickle, platformdirs):
        place = Path(package.__file__).parent
        if not (folder / place.name).exists():
            (folder / place.name).symlink_to(place)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHON_GIL", None)  # which a build with the lock doesn't take
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT / "src", ROOT, folder)))
    done = subprocess.run(
        [python, "-c", code, TOKEN, *map(str, args)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{python}: {done.stderr}"
    return done.stdout


def test_client_of_another_python_calls_a_server_of_this_one(tmp_path: Path) -> None:
    """Values arrive as they are, exceptions match; bytecode is refused with fitting advice."""
    for python in _others():
        handle = Server("127.0.0.1", 0, TOKEN).run_background()
        try:
            own = sys.version_info[:2]
            told = _run(python, tmp_path, USE + CLIENT, handle.port, *own)
            assert told == "done\n", python
            assert handle.wait(30)
        finally:
            handle.kill()


SCRIPT = """
import sys, warnings
warnings.simplefilter("error")
from bgpy import Client, respond
LIMIT = 5
def step(n): return [n + 1 for _ in range(LIMIT)]
def init_task(): return {}
def exec_task(client_socket, state, args): respond(client_socket, step(args["n"]))
def exit_task(client_socket, state, args): pass
with Client("127.0.0.1", int(sys.argv[2]), sys.argv[1]) as client:
    print(client.initialize(init_task, exec_task, exit_task)["message"])
    assert client.call({"n": 1}) == [2] * LIMIT
"""


def test_unchanged_script_of_another_python_uses_the_tasks_of_this_one(tmp_path: Path) -> None:
    """No warning says that its tasks are others: their code can't be compared."""
    handle = Server("127.0.0.1", 0, TOKEN).run_background()
    try:
        told = _run(sys.executable, tmp_path, SCRIPT, handle.port)
        assert told == "Initialization successful.\n"
        for python in (sys.executable, *_others()):
            told = _run(python, tmp_path, SCRIPT, handle.port)
            assert told == "Already initialized.\n", python
    finally:
        handle.kill()


def test_client_of_this_python_calls_a_server_of_another_one(tmp_path: Path) -> None:
    """The same the other way round."""
    names: dict[str, object] = {"__name__": "tests.used"}
    exec(USE, names)
    for python in _others():
        port, pid, *version = map(int, _run(python, tmp_path, SERVER).split())
        server = ProcessId.of(pid)
        try:
            with Client("127.0.0.1", port, TOKEN) as client:
                names["use"](client, version == list(sys.version_info[:2]))  # type: ignore[operator]
            assert server.wait(30), python
        finally:
            server.kill()
