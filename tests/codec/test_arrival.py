"""Where names and lines go; `tests/api/test_scripts.py` tries it between real processes."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import arrival
from bgpy.codec.arrival import (
    MAINS,
    Script,
    begin_class,
    is_adopted,
    settle,
    settle_class,
)
from bgpy.codec.by_value import cloudpickle
from bgpy.codec.class_numbers import number, of_number
from tests.support.forks import forked_while_held


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """`__main__` and the names in it as before."""
    for name in MAINS:
        monkeypatch.setitem(sys.modules, name, sys.modules[MAINS[0]])
    monkeypatch.setattr(arrival, "_main", None)
    monkeypatch.setattr(arrival, "_of_calls", set())


def _arrive(script: Script | None, value: object, *names: str) -> None:
    """Let something arrive that is looked for by the first of these names, and goes by all."""
    settle(value, (script, names[0], dict.fromkeys(names[1:], value), None, None))


def test_names_go_nowhere_where_main_is_a_programs() -> None:
    """A client's, or that of a program which serves in the foreground."""
    main = dict(vars(sys.modules["__main__"]))
    script = Script("", False)
    assert script.globals == {}
    for each in (script, None):
        _arrive(each, 1, "no_such_name")
    assert not is_adopted()
    assert vars(sys.modules["__main__"]) == main


def test_main_is_the_script_of_the_tasks_where_it_is_adopted() -> None:
    """Later names are put where theirs are not; the next tasks begin anew."""
    arrival.adopt_main()
    tasks = Script("", False)
    main = sys.modules["__main__"]
    assert is_adopted()
    assert main is sys.modules["__mp_main__"]
    assert tasks.globals is vars(main)
    _arrive(tasks, "the tasks'", "f")
    for value in ("a call's", "the next one's"):
        _arrive(None, value, "g", "f")
        assert (main.f, main.g) == ("the tasks'", value)  # type: ignore[attr-defined]
    assert Script("", False).globals.keys().isdisjoint(("f", "g"))
    assert sys.modules["__main__"] is not main


def test_class_that_came_is_completed_and_one_that_came_back_is_not() -> None:
    """It is as it should be; what `begin_class` has made is filled."""
    number = "0" * 32
    cloudpickle = pytest.importorskip("cloudpickle.cloudpickle")
    make = cloudpickle._make_skeleton_class
    args = (type, "Kind", (), {"__module__": "x"}, number, None)
    made: Any = begin_class(make, args)
    assert of_number(number, "Kind") == made
    settle_class(made, (None, None, {}, ({"value": 1}, {}), "one"))
    settle_class(made, (None, None, {}, ({"value": 2}, {}), "other"))
    assert made.value == 1
    settle_class(made, (None, None, {}, ({"value": 3}, {}), "one"))
    assert made.value == 3
    own = type("Own", (), {"value": 2})
    settle_class(own, (None, None, {}, ({"value": 3}, {}), "one"))
    assert own.value == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(("guarded", "exists"), [(True, True), (False, True), (True, False)])
def test_children_find_the_script_where_they_may_import_it(
    tmp_path: Path, guarded: bool, exists: bool
) -> None:
    """Its file is here, and has a guard; else they are told to look for none."""
    file = tmp_path / "script.py"
    if exists:
        file.write_text("")
    arrival.adopt_main()
    script = Script(str(file), guarded)
    scope = arrival.globals_of(script, {"__name__": "__main__", "__file__": str(file)})
    assert scope["__file__"] == str(file)
    assert (scope["__spec__"] is None) is (guarded and exists)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked_child_takes_names_whatever_other_threads_were_doing() -> None:
    """One may have been decoding a function, which holds the lock."""
    arrival.adopt_main()
    script = Script("", False)
    assert forked_while_held(arrival._lock.here, lambda: _arrive(script, 1, "name")) == 0


def test_script_is_called_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a notebook, where its file is told; what has none is another in each process."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    called = [arrival.script_here()]
    monkeypatch.setenv("JPY_SESSION_NAME", "/a.ipynb")
    called.append(arrival.script_here())
    vars(main)["__vsc_ipynb_file__"] = "/b.ipynb"
    called.append(arrival.script_here())
    main.__file__ = "/c.py"
    called.append(arrival.script_here())
    assert len(set(called)) == 4
    monkeypatch.setattr(arrival, "THIS_PROCESS", "another")
    assert arrival.script_here() == called[3]
    assert arrival.origin() == f"another {called[3]}"
    del main.__file__
    assert arrival.script_here() == called[2]
    main.__dict__.clear()
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert arrival.script_here() not in called


def test_classes_that_came_are_told_with_the_script_that_they_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only another version of the same script's is another version; those of here aren't told."""
    cloudpickle()
    main = ModuleType("__main__")
    main.__file__ = "/script.py"
    monkeypatch.setitem(sys.modules, "__main__", main)

    def defined(size: int) -> Any:
        exec(f"class Sized:\n    def size(self): return {size}\n", vars(main))
        return vars(main)["Sized"]

    kind = defined(1)
    assert number(kind) is not None
    assert arrival.sent("Sized") is None
    arrival._origins.put(kind, f"process {arrival.script_here()}")
    told = arrival.sent("Sized")
    assert told is not None
    assert not arrival.has_other(told, kind)
    assert arrival.has_other(told, defined(2))
    main.__file__ = "/other.py"
    assert not arrival.has_other(told, defined(2))
