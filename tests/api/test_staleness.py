"""Truths of code that differs between this program and a server: it is noticed and said."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bgpy import Client, ClientSocket, Handle, NotInitialized, StaleCodeWarning, respond
from bgpy.address import parse
from bgpy.api.doctor import diagnose
from bgpy.codec import fingerprint
from tests.support.tokens import own_token

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]

HELPER = "def value(): return 'OLD'\nclass Thing:\n    def value(self): return 'OLD'\n"
TASKS = """
import helper_s
from bgpy import respond
def init_task(): pass
def exec_task(client_socket, state, args):
    run = args.get("run", helper_s.value)
    respond(client_socket, run())
def exit_task(client_socket, state, args): pass
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with `tasks_s` and `helper_s`, on the path here and not in servers' folders."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "helper_s.py").write_text(HELPER)
    (folder / "tasks_s.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    for name in ("helper_s", "tasks_s"):
        sys.modules.pop(name, None)


def _initialize(client: Client) -> str:
    tasks = importlib.import_module("tasks_s")
    return client.initialize(tasks.init_task, tasks.exec_task, tasks.exit_task)["message"]


def _edited(folder: Path) -> ModuleType:
    """`helper_s` in another version, loaded here."""
    (folder / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    importlib.invalidate_caches()
    return importlib.reload(importlib.import_module("helper_s"))


def test_call_warns_when_a_module_was_reloaded_here(modules: Path, start: Start) -> None:
    """Each call that names it, by value or by reference, directly or through another module."""
    _, client = start()
    _initialize(client)
    helper = importlib.import_module("helper_s")
    assert client.call({"run": helper.value}) == "OLD"
    helper = _edited(modules)
    assert client.call({}) == "OLD"  # names no code
    shapes: list[Callable[[], str]] = [helper.value, helper.Thing().value, lambda: helper.value()]
    for run in shapes * 2:
        with pytest.warns(StaleCodeWarning, match="module helper_s") as caught:
            assert client.call({"run": run}) == "OLD"
        assert caught[0].filename == __file__
        warning = caught[0].message
        assert isinstance(warning, StaleCodeWarning)
        assert warning.differences == ("module helper_s",)
        assert "terminate" in str(warning)
    with pytest.warns(StaleCodeWarning):
        client.execute({"run": helper.value})
    with pytest.warns(StaleCodeWarning):
        client.submit({"run": helper.value}).result(20)
    with pytest.warns(StaleCodeWarning, match="different: module helper_s"):
        assert _initialize(client) == "Already initialized."


@pytest.mark.filterwarnings("error")
def test_edited_comment_is_no_other_version(modules: Path, start: Start) -> None:
    """A new program, or one that has reloaded the module, calls without a warning."""
    _, client = start()
    _initialize(client)
    helper = importlib.import_module("helper_s")
    assert client.call({"run": helper.value}) == "OLD"
    (modules / "helper_s.py").write_text(f"# a comment, and lines\n\n{HELPER}  # another\n")
    importlib.invalidate_caches()
    importlib.reload(helper)
    assert client.call({"run": helper.value}) == "OLD"
    assert client.submit({"run": helper.value}).result(20) == "OLD"
    assert _initialize(client) == "Already initialized."


def test_call_warns_when_a_module_was_patched_here(modules: Path, start: Start) -> None:
    """IPython's autoreload gives functions that are loaded the code of the edited file."""
    _, client = start()
    _initialize(client)
    helper = importlib.import_module("helper_s")
    assert client.call({"run": helper.value}) == "OLD"
    text = HELPER.replace("OLD", "newer")
    (modules / "helper_s.py").write_text(text)
    found: dict[str, Any] = {"__name__": "helper_s"}
    exec(compile(text, helper.__file__ or "", "exec", dont_inherit=True), found)
    helper.value.__code__ = found["value"].__code__
    helper.Thing.value.__code__ = found["Thing"].value.__code__
    assert helper.value() == "newer"
    for run in (helper.value, lambda: helper.value()):
        with pytest.warns(StaleCodeWarning, match="module helper_s"):
            assert client.call({"run": run}) == "OLD"
    with pytest.warns(StaleCodeWarning, match="different: module helper_s"):
        assert _initialize(client) == "Already initialized."


def test_initialize_warns_of_the_tasks_that_a_server_has(modules: Path, start: Start) -> None:
    """Of another program, of another version; not of the same."""
    handle, client = start()
    _initialize(client)
    assert _initialize(client) == "Already initialized."
    second = Client(handle.address, token=own_token(client))
    assert _initialize(second) == "Already initialized."
    with pytest.warns(
        StaleCodeWarning, match="different: init_task, exec_task, exit_task"
    ) as caught:
        second.initialize(lambda: None, lambda a, b, c: None, lambda a, b, c: None)
    assert caught[0].filename == __file__


def test_tasks_of_another_python_are_not_compared(
    modules: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of each function is another there; its modules are compared all the same."""
    _, client = start()
    _initialize(client)
    monkeypatch.setattr(fingerprint, "PYTHON", "3.0")
    _initialize(client)
    client.initialize(lambda: None, lambda a, b, c: respond(a, 2), lambda a, b, c: None)
    _edited(modules)
    with pytest.warns(StaleCodeWarning, match="different: module helper_s"):
        _initialize(client)


def test_server_takes_what_is_loaded_here_when_the_file_is_newer(
    modules: Path, start: Start
) -> None:
    """The version that this program runs, from its second server too."""
    _, client = start()
    _initialize(client)
    assert client.call({}) == "OLD"
    (modules / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    _, second = start()
    _initialize(second)
    assert second.call({}) == "OLD"
    helper = importlib.import_module("helper_s")
    assert second.call({"run": helper.value}) == "OLD"


def test_server_with_an_init_file_keeps_what_it_has_loaded(modules: Path, start: Start) -> None:
    """Also if the files have changed since, and a program comes that loads them now."""
    _, client = start(init_file=modules / "tasks_s.py")
    (modules / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    importlib.invalidate_caches()
    with pytest.warns(StaleCodeWarning, match="different: module helper_s"):
        assert _initialize(client) == "Already initialized."
    assert client.call({}) == "OLD"
    helper = importlib.import_module("helper_s")
    with pytest.warns(StaleCodeWarning, match="module helper_s"):
        client.call({"run": helper.value})


RUN = """
import sys, warnings
import helper
from bgpy import Client, StaleCodeWarning, respond

LIMIT = 1

def step():
    return LIMIT, helper.VALUE

def exec_task(client_socket, state, args):
    respond(client_socket, step())

def exit_task(client_socket, state, args):
    pass

client = Client("127.0.0.1", int(sys.argv[1]))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    client.initialize(lambda: None, exec_task, exit_task)
print(client.call({}), *[getattr(each.message, "differences", None) for each in caught])
"""


def test_script_that_was_edited_and_run_again_is_told(start: Start, tmp_path: Path) -> None:
    """Which of its functions and constants the server has in another version, and which module."""
    port = start()[0].port

    def run(script: str, helper: str) -> str:
        (tmp_path / "script.py").write_text(script)
        (tmp_path / "helper.py").write_text(helper)
        command = [sys.executable, "script.py", str(port)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    first = "(1, 'old')"
    assert run(RUN, "VALUE = 'old'") == first
    assert run(f"# moved\n{RUN}", "VALUE = 'old'") == first
    edited = RUN.replace("LIMIT = 1", "LIMIT = 2").replace("LIMIT, helper", "LIMIT+1, helper")
    parts = run(edited, "VALUE = 'newer'")
    assert parts == f"{first} ('__main__.LIMIT', '__main__.step', 'module helper')" or parts == (
        f"{first} ('__main__.step', '__main__.LIMIT', 'module helper')"
    )


VARIABLES = """
import dataclasses, sys, time, warnings
from bgpy import Client, respond

TREE = {"children": []}
TREE["children"] += [{"parent": TREE, "all": TREE["children"]} for _ in range(10)]

@dataclasses.dataclass
class Point:
    x: int
    made = 0

def exec_task(client_socket, state, args):
    class Made:
        size = len(TREE["children"])
    state.setdefault("first", args["value"])
    respond(client_socket, (Made.size, args["value"] == state["first"], args["value"].result))

def exit_task(client_socket, state, args):
    respond(client_socket, len(SEEN))

SEEN = []
warnings.simplefilter("error")
x = result = first = time.time()
Point.result = 5
client = Client(sys.argv[1])
for _ in range(2):
    client.initialize(lambda: {}, exec_task, exit_task)
    x = result = client.call({"value": Point(1)})
    Point.made += 1
SEEN.append(result)
print(result)
if sys.argv[2:]:
    print(client.terminate(await_response=True))
"""


def test_variables_called_as_attributes_of_the_tasks_are_no_other_code(
    start: Start, script: Script
) -> None:
    """Not in another run, nor in one that has used them by now; data may lead back to itself."""
    handle, _ = start()
    process = script(VARIABLES, handle.address, stdout=subprocess.PIPE)
    assert process.communicate(timeout=100)[0] == "(10, True, 5)\n"
    process = script(VARIABLES, handle.address, "end", stdout=subprocess.PIPE)
    assert process.communicate(timeout=100)[0] == "(10, True, 5)\n0\n"


def test_calls_without_code_ask_nothing(modules: Path, start: Start) -> None:
    """Nor those whose code the server is known to have."""
    _, client = start()
    _initialize(client)
    asked: list[object] = []
    before = client._caller.hashes
    client._caller.hashes = lambda *args: asked.append(args) or before(*args)  # type: ignore
    helper = importlib.import_module("helper_s")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for args in ({"number": 2.5, "text": "\x93"}, {"run": helper.value}):
            client.call(args)
            client.submit(args).result(20)
    assert asked == []


NOTEBOOK = """
import sys, warnings
from bgpy import Client, StaleCodeWarning, respond

def step(): return "old"

class Thing:
    def value(self): return "old"

def exec_task(client_socket, state, args):
    respond(client_socket, [step(), args["run"]() if "run" in args else Thing().value()])

def exit_task(client_socket, state, args):
    respond(client_socket, args["run"]())

def told(use):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = use()
    assert all(each.filename == __file__ for each in caught)
    print(result, *[getattr(each.message, "differences", None) for each in caught])

client = Client("127.0.0.1", int(sys.argv[1]))
client.initialize(lambda: None, exec_task, exit_task)
told(lambda: client.call({"run": step}))
told(lambda: client.call({"run": lambda: Thing().value()}))
def step(): return "new"
told(lambda: client.call({}))
told(lambda: client.call({"run": step}))
told(lambda: client.call({"run": lambda: step()}))
told(lambda: client.execute({"run": step}, await_response=True))
told(lambda: client.submit({"run": step}).result(20))
def fresh(): return "its tasks never had it"
told(lambda: client.call({"run": fresh}))
class Thing:
    def value(self): return "new"
told(lambda: client.call({"run": Thing().value}))
told(lambda: client.call({"run": lambda: Thing().value() + step()}))
told(lambda: client.terminate({"run": lambda: Thing().value()}, await_response=True))
"""


def test_calls_tell_of_functions_that_were_defined_anew(start: Start, tmp_path: Path) -> None:
    """What the call brings is new, and what the tasks call themselves is the server's."""
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK)
    command = [sys.executable, str(script), str(start()[0].port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "['old', 'old']",
        "['old', 'old']",
        "['old', 'old']",
        *["['old', 'new'] ('__main__.step',)"] * 4,
        "['old', 'its tasks never had it']",
        "['old', 'new'] ('__main__.Thing',)",
        "['old', 'newnew'] ('__main__.Thing', '__main__.step')",
        "new ('__main__.Thing',)",
    ], done.stderr


WITHOUT_CODE = """
import sys, warnings
from bgpy import Client, respond

class Marker: mark = "old"

def exec_task(client_socket, state, args):
    respond(client_socket, [Marker.mark, args["it"].mark])

client = Client("127.0.0.1", int(sys.argv[1]))
client.initialize(lambda: None, exec_task, lambda client_socket, state, args: None)
for _ in "old", "new":
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = client.call({"it": Marker})
    print(result, *[each.message.differences for each in caught])
    class Marker: mark = "new"
"""


def test_calls_tell_of_classes_without_code_too(start: Start, tmp_path: Path) -> None:
    """Another Python could read them; they are another version all the same."""
    script = tmp_path / "marks.py"
    script.write_text(WITHOUT_CODE)
    command = [sys.executable, str(script), str(start()[0].port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "['old', 'old']",
        "['old', 'new'] ('__main__.Marker',)",
    ], done.stderr


def test_calls_ask_once_for_what_the_tasks_do_not_have(start: Start) -> None:
    """And anew where the server had no tasks when it was asked."""
    handle, client = start()
    for run in (_first, _first):
        with pytest.raises(NotInitialized):
            client.call({"run": run, "more": lambda: None})
    asked: list[object] = []
    before = client._caller.hashes
    client._caller.hashes = lambda *args: asked.append(args) or before(*args)  # type: ignore
    main = ModuleType("__main__")
    vars(main).update(step=_first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_first, "__module__", "__main__")
        patch.setattr(_first, "__qualname__", "step")
        patch.setitem(sys.modules, "__main__", main)
        with Client(handle.address, token=own_token(client)) as other:
            other.initialize(lambda: None, _answer, _answer)
        for _ in range(3):
            assert client.call({"run": _first}) == {"run": 5}
    assert len(asked) == 1


def _first() -> int:
    return 5


def _answer(client_socket: ClientSocket, state: None, args: dict[str, Any]) -> None:
    respond(client_socket, {"run": args["run"]() if "run" in args else None})


@pytest.mark.filterwarnings("default::bgpy.StaleCodeWarning")
def test_init_file_that_was_edited_is_told_to_who_connects(start: Start, modules: Path) -> None:
    """With the modules that it uses; but not to who ends the server."""
    handle, client = start(init_file=str(modules / "tasks_s.py"))
    assert client.call({}) == "OLD"
    (modules / "helper_s.py").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Client(handle.address).call({}) == "OLD"
    (modules / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    with pytest.warns(StaleCodeWarning, match="terminate the server and start it again") as caught:
        assert Client(handle.address).call({}) == "OLD"
    assert [getattr(each.message, "differences", None) for each in caught] == [("module helper_s",)]
    known = dict(diagnose(parse(handle.address), None, None).known)
    assert "helper_s" in known["edited"]
    assert "tasks_s" not in known["edited"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Client(handle.address).terminate()


def test_edited_init_file_is_told_at_the_line_that_called(start: Start, modules: Path) -> None:
    """Once for each client, also by `submit`, which doesn't wait for the connection."""
    handle, _ = start(init_file=str(modules / "tasks_s.py"))
    (modules / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    with Client(handle.address) as client, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answers = [client.submit({}) for _ in range(3)]
        assert [answer.result() for answer in answers] == ["OLD"] * 3
        client.close()
        assert client.call({}) == "OLD"
        assert Client(handle.address).call({}) == "OLD"
    told = [each for each in caught if each.category is StaleCodeWarning]
    assert [each.filename for each in told] == [__file__] * 2


def test_warnings_that_are_errors_reach_who_called_as_they_are(start: Start, modules: Path) -> None:
    """None is taken for a failure to connect; who goes on is not told again."""
    handle, _ = start(init_file=str(modules / "tasks_s.py"))
    (modules / "helper_s.py").write_text(HELPER.replace("OLD", "newer"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = Client(handle.address), Client(handle.address)
        with pytest.raises(StaleCodeWarning, match="helper_s"):
            first.submit({})
        assert first.submit({}).result() == "OLD"
        with pytest.raises(StaleCodeWarning, match="helper_s"):
            second.call({})
        assert second.call({}) == "OLD"
        first.close()
        second.close()


EDITED_EXIT = """
import sys, warnings
from bgpy import Client, NoResponse, Server, StaleCodeWarning, respond

def init_task():
    return ["precious"]

def exec_task(client_socket, state, args):
    respond(client_socket, state)

def exit_task(client_socket, state, args):
    pass

first = Server().run_background()
client = Client(first.address)
client.initialize(init_task, exec_task, exit_task)
if sys.argv[1] == "another client":
    client = Client(first.address)

def exec_task(client_socket, state, args):
    respond(client_socket, len(state))

def exit_task(client_socket, state, args):
    respond(client_socket, state)

with warnings.catch_warnings():
    warnings.simplefilter("error", StaleCodeWarning)
    try:
        client.terminate(await_response=True)
    except StaleCodeWarning as warning:
        print(*warning.differences)
    print(client.call({}))
    client.terminate()
with Server().run_background() as second, Client(second.address) as client:
    client.initialize(init_task, exec_task, exit_task)
    def exec_task(client_socket, state, args): pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        print(client.terminate(await_response=True))
"""


@pytest.mark.parametrize("asks", ["that client", "another client"])
def test_terminate_warns_before_another_exit_task_takes_the_state(
    script: Script, asks: str
) -> None:
    """As after an edit in a notebook; it says nothing of tasks that are to be replaced."""
    process = script(EDITED_EXIT, asks, stdout=subprocess.PIPE)
    assert process.communicate(timeout=100)[0].splitlines() == [
        "__main__.exit_task",
        "['precious']",
        "['precious']",
    ]


OTHERS = """
import warnings
from bgpy import Client, Server, respond

def exit_task(client_socket, state, args):
    respond(client_socket, "mine")

def _tasks():
    def exit_task(client_socket, state, args):
        respond(client_socket, "other")
    return (lambda: None), (lambda *_: None), exit_task

warnings.simplefilter("error")
with Server().run_background() as handle, Client(handle.address) as client:
    client.initialize(*_tasks())
    print(Client(handle.address).terminate(await_response=True))
"""


def test_terminate_says_nothing_of_a_server_with_other_tasks(script: Script) -> None:
    """A script's own exit_task is no version of one that has another name."""
    process = script(OTHERS, stdout=subprocess.PIPE)
    assert process.communicate(timeout=100)[0].splitlines() == ["other"]


DEFINED_ANEW = """
import sys, warnings
from bgpy import Client, Server, StaleCodeWarning, respond

def exec_task(client_socket, state, args):
    state.append(args["value"])
    respond(client_socket, len({type(each) for each in state}))

CLASS = "class Point:\\n    def __init__(self, x): self.x = x\\n"

class Other: ...

def send(text):
    exec(text, globals())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = client.call({"value": Point(1)})
    print(found, *(each.message.differences for each in caught))

with Server().run_background() as handle, Client(handle.address) as client:
    client.initialize(lambda: [], exec_task, lambda *_: None)
    send(CLASS)
    send(CLASS)
    send(CLASS + "    size = 2\\n")
    send(CLASS + "    size = 2\\n")
    warnings.simplefilter("error")
    for value in (Point, Other):  # which the name stands for, one after the other
        client.call({"value": value})
"""


def test_call_warns_of_a_class_that_was_defined_anew_since_it_was_sent(script: Script) -> None:
    """Though no task names it; once, and not of one that is the same."""
    process = script(DEFINED_ANEW, stdout=subprocess.PIPE)
    first, again, changed, last = process.communicate(timeout=100)[0].splitlines()
    assert (first, again.split()[1:], last.split()[1:]) == ("1", [], [])
    assert changed.partition(" ")[2] == "('__main__.Point',)"
    assert process.returncode == 0


IMPORTED = """
import dataclasses, sys, warnings
from bgpy import Client, StaleCodeWarning, respond

LIMIT = 1

@dataclasses.dataclass
class Record:
    a: int = LIMIT

def step(): return Record()

def exec_task(client_socket, state, args): respond(client_socket, step().a)

def exit_task(client_socket, state, args): respond(client_socket, LIMIT)

def main(address, *ends):
    with warnings.catch_warnings(record=True) as caught, Client(address) as client:
        warnings.simplefilter("always")
        client.initialize(lambda: None, exec_task, exit_task)
        found = client.call({})
        if ends:
            client.terminate(await_response=True)
    print(found, *[getattr(each.message, "differences", each) for each in caught])

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("first", ["imports", "runs"])
def test_file_that_one_program_imports_and_another_runs_is_the_same_code(
    start: Start, tmp_path: Path, first: str
) -> None:
    """Whoever was first; an edit of it is told by the names of what was edited."""
    handle, _ = start()
    imports = ["-c", "import sys, package.shared as m; m.main(*sys.argv[1:])"]
    ways = [imports, ["package/shared.py"], ["-m", "package.shared"]]
    (tmp_path / "package").mkdir()

    def run(way: list[str], text: str, *ends: str) -> str:
        (tmp_path / "package" / "shared.py").write_text(text)
        command = [sys.executable, *way, str(handle.address), *ends]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    for way in ways if first == "imports" else ways[::-1]:
        assert run(way, f"# {way}\n{IMPORTED}") == "1"
    other = ways[2 if first == "imports" else 0]
    edited = run(other, IMPORTED.replace("LIMIT = 1", "LIMIT = 22"))
    assert "'__main__.LIMIT'" in edited
    assert "respond" not in edited
    assert "exec_task" not in edited
    assert run(other, IMPORTED, "ends") == "1"


KEEPS = """
import dataclasses, enum, sys, threading, time, typing, warnings
from bgpy import Client, StaleCodeWarning, respond

RATE = 1

def scaled(x): return x * RATE

@dataclasses.dataclass
class Record:
    a: int
    def scaled(self): return scaled(self.a)

class Color(enum.Enum):
    RED = 1

class Row(typing.NamedTuple):
    a: int = 1

class Plain:
    made = 0
    def __new__(cls):
        Plain.made += 1
        return super().__new__(cls)

class Vague:
    lock = threading.Lock()

def exec_task(client_socket, state, args):
    state += args.get("keep", [])
    respond(client_socket, state)

def exit_task(client_socket, state, args): pass

started = time.time()
client = Client(sys.argv[1])

def told(action):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = action()
    return found, [each.message.differences for each in caught]

first = told(lambda: client.initialize(lambda: [], exec_task, exit_task))
calls = [told(lambda: client.call({"keep": [each]}))
         for _ in range(2) for each in (Record(1), Color.RED, Row(), Plain(), lambda: Record)]
kept = [isinstance(each, Record) for each in calls[-1][0] if hasattr(each, "scaled")]
print(kept, first[1], [each for call in calls for each in call[1]])
"""


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("    a: int\n    def", "    a: int = 3\n    def", "Record"),
        ("RATE = 1", "RATE = 2", "Record"),
        ("RED = 1", "RED = 2", "Color"),
        ("a: int = 1", "a: int = 2", "Row"),
        ("return super()", "return  object", "Plain"),
    ],
)
def test_class_of_a_script_that_was_edited_between_two_runs_is_told(
    start: Start, tmp_path: Path, old: str, new: str, name: str
) -> None:
    """By initialize and by the first call that brings it; nothing is said of an unedited one."""
    handle, _ = start()

    def run(text: str, script: str = "script.py") -> str:
        (tmp_path / script).write_text(text)
        command = [sys.executable, script, str(handle.address)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert old in KEEPS
    assert run(KEEPS) == "[True, True] [] []"
    assert run(f"# moved\n{KEEPS}") == "[True, True, True, True] [] []"
    # Another script has a class of its own by that name.
    assert run(KEEPS.replace(old, new), "other.py").endswith("] [] []")
    kept, told = run(KEEPS.replace(old, new)).split("] ", 1)
    assert told == f"[('__main__.{name}',)] [('__main__.{name}',)]"
    assert ("False" in kept) == (name == "Record")
