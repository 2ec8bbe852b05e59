"""Truths of a script's names in the server: they are where Python looks for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from bgpy import Client, Handle

Start = Callable[..., tuple[Handle, Client]]
Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def port(start: Start) -> int:
    """The port of a server without tasks."""
    return start()[0].port


def _output(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


NAMES = """
from __future__ import annotations
import enum, functools, inspect, pickle, sys, traceback, typing
from collections import namedtuple
from dataclasses import dataclass, field
from bgpy import Client, respond

UserId = typing.NewType("UserId", int)
P = typing.ParamSpec("P")
T = typing.TypeVar("T")
Pair = namedtuple("Pair", "one two")

class Color(enum.Enum):
    RED = 1
    BLUE = 2

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()

class Item:
    pass

class Slotted:
    __slots__ = ("one", "__two")
    def __init__(self, one, two):
        self.one, self.__two = one, two
    def both(self):
        return self.one, self.__two

class Inherits(Slotted):
    __slots__ = ("three",)

class Plain(Inherits):
    pass

@dataclass(slots=True, frozen=True)
class Frozen:
    name: str

@dataclass
class State:
    items: list[Item] = field(default_factory=list)
    user: UserId | None = None
    slotted: Inherits | None = None

    class Inner:
        pass

    @functools.cached_property
    def size(self):
        return len(self.items)

    def grow(self):
        self.items.append(Item())
        return super().__repr__()

@functools.lru_cache(maxsize=8)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

@functools.singledispatch
def shown(value):
    return "any"

@shown.register
def _(value: int):
    return "int"

def annotated(item: Item, other: typing.Callable[P, T]) -> State: ...

def again(value):
    return pickle.loads(pickle.dumps(value))

def init_task():
    return State()

def exec_task(client_socket, state, args):
    def names():
        inherits = Inherits(1, 2)
        inherits.three = 3
        back = again(inherits)
        yield back.both() + (back.three, hasattr(back, "__dict__"), type(back) is Inherits)
        yield again(Plain(5, 6)).both()
        state.items = [Item()]
        state.user = UserId(5)
        yield len(again(state).items), state.size, again(state).size
        yield again(UserId) is UserId, again(fibonacci) is fibonacci, again(MISSING) is MISSING
        yield again(P) is P, again(Color.RED) is Color.RED, again(Pair(1, 2)), again(Frozen("x"))
        yield type(again(State.Inner())) is State.Inner, again(exec_task) is exec_task
        yield fibonacci(30), fibonacci.cache_info().maxsize, shown(1), shown("x")
        hints = typing.get_type_hints(State)
        yield hints["items"] == list[Item], typing.get_type_hints(annotated)["item"] is Item
        yield [type(each) is kind for each, kind in args["kinds"]], args["missing"] is MISSING
        yield inspect.getsource(fibonacci.__wrapped__).splitlines()[1]
        yield inspect.getsource(Slotted).splitlines()[0]
        yield sys.modules["__main__"].State is State
    respond(client_socket, (list(names()), state, inherits_of()))

def inherits_of():
    made = Inherits(7, 8)
    made.three = 9
    return made

def exit_task(client_socket, state, args):
    pass

if __name__ == "__main__":
    client = Client("127.0.0.1", int(sys.argv[1]))
    client.initialize(init_task, exec_task, exit_task)
    names, state, slotted = client.call({
        "kinds": [(State(), State), (Item(), Item), (Color.RED, Color), (Frozen("x"), Frozen)],
        "missing": MISSING,
    })
    for each in names:
        print(each)
    print(type(state) is State, slotted.both(), slotted.three)
"""
EXPECTED = """\
(1, 2, 3, False, True)
(5, 6)
(1, 1, 1)
(True, True, True)
(True, True, Pair(one=1, two=2), Frozen(name='x'))
(True, True)
(832040, 8, 'int', 'any')
(True, True)
([True, True, True, True], True)
def fibonacci(n):
class Slotted:
True
True (7, 8) 9
"""


def test_names_of_a_script_are_found_in_the_server(script: Script, port: int) -> None:
    """By pickle, `typing`, `functools`, `inspect` and `sys.modules`, as in the script itself."""
    assert _output(script(NAMES, port)) == EXPECTED


POOLS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from bgpy import Client, respond

FACTOR = 3

class Item:
    def __init__(self, value):
        self.value = value

def times(item):
    return Item(item.value * FACTOR)

def exec_task(client_socket, state, args):
    context = multiprocessing.get_context(args["method"])
    with context.Pool(1) as pool:
        values = [each.value for each in pool.map(times, [Item(1), Item(2)])]
    with ProcessPoolExecutor(1, context) as pool:
        values += [each.value for each in pool.map(args["function"], [Item(3)])]
    respond(client_socket, values)

def later(item):
    return times(times(item))

if __name__ == "__main__":
    client = Client("127.0.0.1", int(sys.argv[1]), timeout=60)
    client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
    for method in sys.argv[2:]:
        print(client.call({"method": method, "function": later}))
"""
METHODS = ["fork", "spawn", "forkserver"] if sys.platform != "win32" else ["spawn"]


def test_process_pools_of_tasks_run_the_functions_of_a_script(script: Script, port: int) -> None:
    """Those that tasks name, and those that come with a call."""
    assert _output(script(POOLS, port, *METHODS)) == "[3, 6, 27]\n" * len(METHODS)


UNGUARDED = """
import multiprocessing, sys
from bgpy import Client, respond

def exec_task(client_socket, state, args):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        respond(client_socket, pool.map(abs, [-1, -2]))

client = Client("127.0.0.1", int(sys.argv[1]), timeout=60)
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
print(client.call({}))
"""


def test_script_without_a_guard_is_not_run_by_the_children_of_its_tasks(
    script: Script, port: int
) -> None:
    """Each of them would begin it anew, and wait for the server that waits for it."""
    assert _output(script(UNGUARDED, port)) == "[1, 2]\n"


TRACEBACKS = """
import traceback
from bgpy import Client

class Deep:
    def method(self):
        return [1 / 0 for _ in "x"]  # in a class

def exec_task(client_socket, state, args):
    args["run"]()

client = Client("127.0.0.1", PORT)
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
def shown(function):
    try:
        client.call({"run": function})
    except ZeroDivisionError as error:
        return str(error.__cause__)
text = shown(Deep().method)
assert "return [1 / 0 for _ in" in text, text
assert "args[" + chr(34) + "run" in text, text
text = shown(lambda: 1 / 0)  # a lambda
assert "# a lambda" in text and "dynamic" not in text, text
print(text.count("script.py"))
"""


def test_tracebacks_show_file_line_and_source_of_a_script(script: Script, port: int) -> None:
    """Of its tasks, and of what comes with a call."""
    process = script(f"PORT = {port}\n{TRACEBACKS}")
    assert _output(process) == "2\n"


CELLS = '''
import linecache, sys, types
main = types.ModuleType("__main__")
sys.modules["__main__"] = main

def run(name, text):
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    exec(compile(text, name, "exec"), vars(main))

run("<cell 1>", """
from bgpy import Client
def fail():
    raise KeyError("first")  # in cell 1
def exec_task(client_socket, state, args):
    args.get("run", fail)()  # calls it
client = Client("127.0.0.1", PORT)
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
def shown(**args):
    try:
        client.call(args)
    except KeyError as error:
        return str(error.__cause__)
""".replace("PORT", sys.argv[1]))
run("<cell 2>", "text = shown()\\n")
assert "# in cell 1" in main.text and "# calls it" in main.text, main.text
run("<cell 1>", """
def fail():
    other = 1
    raise KeyError("second")  # in cell 1, run again
""")
run("<cell 2>", "text = shown(run=fail)\\n")
assert "# in cell 1, run again" in main.text, main.text
assert "# calls it" in main.text, main.text
run("<cell 2>", "text = shown()\\n")
assert "# in cell 1\\n" in main.text, main.text
print("seen")
'''


def test_tracebacks_show_the_cells_of_a_notebook(script: Script, port: int) -> None:
    """Each version of a cell with its own lines, also when it is run again under its name."""
    assert _output(script(CELLS, port)) == "seen\n"


TWO = """
import pickle, sys
from bgpy import Client, respond

COUNT = 0

def helper():
    return "HELPER"

class Item:
    name = "HELPER"

def exec_task(client_socket, state, args):
    global COUNT
    COUNT += 1
    try:
        again = len(pickle.dumps(args["item"])) > 0
    except pickle.PicklingError:
        again = False
    name = pickle.loads(pickle.dumps(Item())).name
    respond(client_socket, (COUNT, helper(), args["run"](), again, name))

def run():
    return helper(), COUNT

client = Client("127.0.0.1", int(sys.argv[1]))
print(client.initialize(lambda: None, exec_task, lambda socket, state, args: None)["message"][:4])
COUNT = 50
print(client.call({"run": run, "item": Item()}))
"""


def test_two_scripts_keep_their_names_apart(script: Script, port: int) -> None:
    """`__main__` is the script of the tasks; the other's functions use their own names."""
    first = _output(script(TWO.replace("HELPER", "first"), port))
    assert first == "Init\n(1, 'first', ('first', 50), True, 'first')\n"
    second = _output(script(TWO.replace("HELPER", "second"), port))
    assert second == "Alre\n(2, 'first', ('second', 50), False, 'first')\n"


COMES_BACK = """
import sys
from bgpy import Client, respond

STEP = 1

class Item:
    made = 0
    def step(self):
        return STEP

def exec_task(client_socket, state, args):
    Item.made += 1
    respond(client_socket, Item())

client = Client("127.0.0.1", int(sys.argv[1]))
client.initialize(lambda: None, exec_task, lambda socket, state, args: None)
mine = Item()
theirs = client.call({})
STEP = 2
print(type(theirs) is Item, mine.step(), theirs.step(), Item.made)
"""


def test_class_that_comes_back_leaves_the_scripts_own_as_it_is(script: Script, port: int) -> None:
    """Its methods go on using the script's globals, and its attributes stay."""
    assert _output(script(COMES_BACK, port)) == "True 2 2 0\n"


OWN_CLASS = """
import dataclasses, sys
from bgpy import Client, Server, respond

@dataclasses.dataclass
class Record:
    a: int

def exec_task(client_socket, state, args):
    state += args.get("value", [])
    respond(client_socket, (state, all(isinstance(each, Record) for each in state)))

client = Client(sys.argv[1])
client.initialize(lambda: [], exec_task, lambda *_: None)
print(client.call({"value": [Record(8)]}) == ([Record(8)] * int(sys.argv[2]), True))
"""


def test_class_of_a_script_is_the_same_in_each_run_of_it(start: Start, script: Script) -> None:
    """Nothing in the file was edited: what the server has kept is of this run's class, too."""
    handle, _ = start()
    for run in (1, 2, 3):
        process = script(OWN_CLASS, handle.address, run)
        told, errors = process.communicate(timeout=100)
        assert (told, errors) == ("True\n", "")
