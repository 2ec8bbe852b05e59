"""Truths of tasks that the server can't import: they travel by value.

The servers here are started in a folder of their own, without the scripts' folders on
their `sys.path`; the scripts define the tasks in every way that users do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bgpy import Client, Handle

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]

TASKS = """
from bgpy import Client, respond

STEP = 5
steps_made = 0

def init_task():
    return 0

def step():
    global steps_made
    steps_made += 1
    return STEP

def exec_task(client_socket, state, args):
    state += step()
    respond(client_socket, {"state": state, "steps": steps_made})
    return state

def exit_task(client_socket, state, args):
    respond(client_socket, {"state": state, "steps": steps_made})
"""
USE = """
import sys
client = Client("127.0.0.1", PORT)
print(client.initialize(init_task, exec_task, exit_task)["message"])
print(client.call({}), client.call({}), client.terminate(await_response=True))
"""
EXPECTED = (
    "Initialization successful.\n"
    "{'state': 5, 'steps': 1} {'state': 10, 'steps': 2} {'state': 10, 'steps': 2}\n"
)


@pytest.fixture
def port(start: Start) -> int:
    """The port of a server without tasks."""
    return start()[0].port


def _output(process: subprocess.Popen[str], stdin: str | None = None) -> str:
    output, errors = process.communicate(stdin)
    assert process.returncode == 0, errors
    return output


def test_tasks_of_a_script_travel_with_the_globals_they_share(script: Script, port: int) -> None:
    """Functions of `__main__`; what one of the three changes in a global the others see."""
    assert _output(script(f"PORT = {port}\n{TASKS}{USE}")) == EXPECTED


def test_tasks_of_a_command_travel(port: int, tmp_path: Path) -> None:
    """``python -c``: no file has their source."""
    command = [sys.executable, "-c", f"PORT = {port}\n{TASKS}{USE}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (EXPECTED, "")


def test_tasks_of_a_piped_prompt_travel(port: int, tmp_path: Path) -> None:
    """``python -i`` fed from a pipe, line by line."""
    done = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=_typed(port),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert EXPECTED in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals of POSIX")
def test_tasks_of_a_prompt_at_a_terminal_travel(port: int, tmp_path: Path) -> None:
    """A real interactive session at a terminal."""
    import pty

    of_test, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    process = subprocess.Popen(
        [sys.executable, "-q"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=tmp_path,
        env=environment,
    )
    os.close(terminal)
    printed = b""
    typed = _typed(port) + "raise SystemExit\n"
    for line in typed.splitlines(keepends=True):
        os.write(of_test, line.encode())
    try:
        while chunk := os.read(of_test, 4096):
            printed += chunk
    except OSError:
        pass  # how Linux tells that the terminal's other side is closed
    process.wait()
    os.close(of_test)
    assert all(line in printed.decode().splitlines() for line in EXPECTED.splitlines())


def _typed(port: int) -> str:
    """The tasks and their use, as somebody types them at a prompt."""
    typed = f"PORT = {port}\n{TASKS}{USE}"
    lines: list[str] = []
    for line in typed.splitlines():
        if lines and lines[-1].startswith("    ") and not line.startswith("    "):
            lines.append("")
        if line:
            lines.append(line)
    return "\n".join(lines) + "\n"


NOTEBOOK = """
import sys, types
main = types.ModuleType("__main__")
sys.modules["__main__"] = main
for number, cell in enumerate(CELLS):
    exec(compile(cell, f"<cell {number}>", "exec"), vars(main))
"""


def test_tasks_of_a_notebook_travel(script: Script, port: int) -> None:
    """Cells run in a `__main__` that has no file."""
    cells = [f"PORT = {port}", TASKS, USE]
    assert _output(script(f"CELLS = {cells!r}\n{NOTEBOOK}")) == EXPECTED


CLOSURES = """
import functools, sys
from bgpy import Client, respond

def make(start, step):
    made = []
    def execute(client_socket, state, args):
        made.append(step)
        respond(client_socket, (state, made))
        return state + step
    return (lambda: start), execute, lambda c, s, a: respond(c, (s, made))

class Doubling:
    def __call__(self, client_socket, state, args):
        respond(client_socket, state)
        return state * 2

first, second = [Client("127.0.0.1", int(port)) for port in sys.argv[1:]]
first.initialize(*make(3, 4))
print(first.call({}), first.call({}), first.terminate(await_response=True))

def scale(client_socket, state, args, factor):
    respond(client_socket, state * factor)

second.initialize(lambda c: 21, Doubling(), functools.partial(scale, factor=10))
print(second.call({}), second.call({}), second.terminate(await_response=True))
"""


def test_lambdas_closures_and_callable_objects_travel(script: Script, start: Start) -> None:
    """What they close over is shared between them over there."""
    ports = [start()[0].port for _ in range(2)]
    assert _output(script(CLOSURES, *ports)) == "(3, [4]) (7, [4, 4]) (11, [4, 4])\n21 42 840\n"


BESIDE = {
    "beside.py": TASKS + "\nimport helping\nfrom package.inner import Point\n"
    "def step():\n    global steps_made\n    steps_made += 1\n    return helping.step()\n",
    "helping.py": "def step():\n    return 5\n",
    "package/inner.py": "import dataclasses\n@dataclasses.dataclass\nclass Point:\n    x: int\n",
}


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def _run_beside(script: Script, folder: Path, text: str, *args: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return _output(script(text, *args, env=environment))


def test_tasks_of_a_module_the_server_can_not_import_travel(
    script: Script, port: int, tmp_path: Path
) -> None:
    """With the user's modules that it uses; its functions share its globals."""
    _write(tmp_path / "modules", BESIDE)
    text = f"PORT = {port}\nfrom bgpy import Client\nfrom beside import *\n{USE}"
    assert _run_beside(script, tmp_path / "modules", text) == EXPECTED


def test_classes_of_such_a_module_are_the_same_on_both_sides(
    script: Script, port: int, tmp_path: Path
) -> None:
    """Objects of them travel there and back and are equal to what they were."""
    _write(
        tmp_path / "modules",
        {
            **BESIDE,
            "shapes.py": "from bgpy import respond\nfrom package.inner import Point\n"
            "class Wrong(Exception): pass\n"
            "def init_task(): return Point(1)\n"
            "def exec_task(client_socket, state, args):\n"
            "    if not isinstance(args['point'], Point): raise Wrong(type(args['point']))\n"
            "    if args['point'].x < 0: raise Wrong('negative')\n"
            "    respond(client_socket, [state, args['point']])\n"
            "def exit_task(client_socket, state, args): pass\n",
        },
    )
    text = (
        "import sys, shapes\nfrom bgpy import Client\n"
        f"client = Client('127.0.0.1', {port})\n"
        "client.initialize(shapes.init_task, shapes.exec_task, shapes.exit_task)\n"
        "print(client.call({'point': shapes.Point(2)}))\n"
        "try: client.call({'point': shapes.Point(-1)})\n"
        "except shapes.Wrong as error: print('caught', error)\n"
    )
    expected = "[Point(x=1), Point(x=2)]\ncaught negative\n"
    assert _run_beside(script, tmp_path / "modules", text) == expected


VERSION = """
import sys
from bgpy import respond
VERSION = {version}
def init_task(): return VERSION
def exec_task(client_socket, state, args):
    module = sys.modules[__name__]
    respond(client_socket, (state, type(module.__loader__).__name__, module.__file__))
def exit_task(client_socket, state, args): pass
"""
ASK = """
import sys, versioned
from bgpy import Client
client = Client("127.0.0.1", int(sys.argv[1]))
client.initialize(versioned.init_task, versioned.exec_task, versioned.exit_task)
print(client.call({}))
"""


@pytest.mark.parametrize("imported", [False, True], ids=["not imported", "imported before"])
@pytest.mark.parametrize("same", [False, True], ids=["another version", "the same version"])
def test_module_travels_only_if_the_server_has_another_version(
    start: Start,
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    same: bool,
    imported: bool,
) -> None:
    """The client's version runs; where it is the same, it is the server's own file."""
    there, here = tmp_path / "there", tmp_path / "here"
    _write(there, {"versioned.py": VERSION.format(version=1)})
    _write(here, {"versioned.py": VERSION.format(version=1 if same else 2)})
    monkeypatch.syspath_prepend(str(there))
    handle, client = start()
    if imported:

        def fail_after_import() -> None:
            import versioned

            raise LookupError(versioned.VERSION)

        with pytest.raises(LookupError, match="1"):
            client.initialize(fail_after_import, lambda c, s, a: None, lambda c, s, a: None)
    output = _run_beside(script, here, ASK, handle.port)
    if same:
        assert output == f"(1, 'SourceFileLoader', {str(there / 'versioned.py')!r})\n"
    else:
        assert output.startswith("(2, ")
        assert "SourceFileLoader" not in output


SPAWNING = """
import multiprocessing, sys
import bgpy

class Point:
    def __init__(self, x):
        self.x = x

def init():
    return 0

def execute(client_socket, state, args):
    bgpy.respond(client_socket, Point(args["point"].x + 1))

def leave(client_socket, state, args):
    pass

def child(address):
    with bgpy.Client(address, timeout=30) as client:
        client.initialize(init, execute, leave)
        came = client.call({"point": Point(1)})
        print(type(came) is Point, came.x, flush=True)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],))
    process.start()
    process.join()
"""


def test_a_script_is_sent_from_a_process_that_multiprocessing_starts(
    start: Callable[..., tuple[Handle, Client]], script: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its module has another name there, `__mp_main__`, and goes by value as in the script."""
    handle, _ = start()
    out, err = script(SPAWNING, handle.address).communicate(timeout=60)
    assert out.split() == ["True", "2"], err


FAILURES = """
from dataclasses import dataclass
from bgpy import Client

@dataclass(frozen=True)
class Frozen(Exception):
    code: int

class Custom(Exception):
    def __init__(self, code, *, hint):
        super().__init__(f"failed with {code}")
        self.hint = hint

def exec_task(client_socket, state, args):
    if args["group"]:
        unreadable = ValueError("unreadable")
        unreadable.generator = (each for each in ())
        inner = ExceptionGroup("inner", [Custom(2, hint="try"), unreadable])
        raise ExceptionGroup("outer", [Frozen(1), inner])
    try:
        raise Custom(3, hint="why")
    except Custom as error:
        error.add_note("twice")
        raise Frozen(4) from error

client = Client("127.0.0.1", PORT)
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
try:
    client.call({"group": True})
except* Frozen as group:
    print(group.exceptions)
except* Custom as group:
    print(group.exceptions[0].exceptions[0].hint)
except* ValueError as group:
    lost = group.exceptions[0].exceptions[0]
    print(repr(lost), "'generator'" in lost.__notes__[0])
for future in (client.submit({"group": False}), client.submit({"group": False})):
    try:
        future.result(20)
    except Frozen as error:
        cause = error.__cause__
        print(repr(error), repr(cause), cause.hint, cause.__notes__)
"""


def test_exceptions_of_a_script_are_caught_by_it_as_they_were_raised(
    script: Script, port: int
) -> None:
    """Frozen ones, groups, those with a constructor of their own, and what caused them."""
    printed = _output(script(f"PORT = {port}\n{FAILURES}"))
    cause = "Frozen(code=4) Custom('failed with 3') why ['twice']\n"
    assert printed == ("(Frozen(code=1),)\ntry\nValueError('unreadable') True\n" + cause * 2)


KINDS = """
import functools, typing
from bgpy import Client, respond

T = typing.TypeVar("T")

class Pair(typing.NamedTuple, typing.Generic[T]):
    first: T
    second: int = 3

    def swapped(self):
        return self._replace(first=self.second, second=self.first)

class Node:
    next: "Pair"

def hinted(node: "Node", pairs: "list[Pair]") -> "Pair":
    return Pair(1)

def exec_task(client_socket, state, args):
    respond(client_socket, args["run"](*args["on"]))

client = Client("127.0.0.1", PORT)
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
print(client.call({"run": lambda pair: pair.swapped(), "on": [Pair(1)]}))
print(client.call({"run": lambda: Pair.__orig_bases__ and Pair(2)[:], "on": []}))
hints = client.call({"run": lambda: typing.get_type_hints(hinted), "on": []})
pair = client.call({"run": hinted, "on": [1, 2]})
print(hints == typing.get_type_hints(hinted), isinstance(pair, Pair))
"""


def test_kinds_of_classes_and_annotations_of_calls_travel(script: Script, port: int) -> None:
    """Named tuples that are classes; a function's own annotations are found where it looks."""
    assert _output(script(f"PORT = {port}\n{KINDS}")) == (
        "Pair(first=3, second=1)\n(2, 3)\nTrue True\n"
    )
