"""The user's modules: found, compared without importing, installed in place of older ones."""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import inspect
import linecache
import os
import pickle
import pkgutil
import sys
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bgpy.codec import functions
from bgpy.codec.loaded import ModuleSource, digest
from bgpy.codec.modules import Catalogue, named_in, texts_in, used_by, versions
from tests.support.packed import Packed, encode_tasks

Write = Callable[[str, str], Path]
Import = Callable[[str], ModuleType]


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """`sys.path`, the finders and the modules as they were."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = dict(sys.modules)
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a module's file, by its path below the folder that is on `sys.path`."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())  # the same bytes on every system
        importlib.invalidate_caches()
        return path

    return write


def _forget(*names: str) -> None:
    """As if this process had never imported them."""
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]


def _hide(tmp_path: Path, *names: str) -> None:
    """As if this were another machine: the files aren't here, nor was anything imported."""
    sys.path.remove(str(tmp_path))
    sys.path_importer_cache.clear()
    _forget(*names)


# Which modules travel


def test_used_by_finds_modules_when_a_function_names_them_in_any_way(write: Write) -> None:
    """Imported whole, by a name from them, an object of theirs, and what those use in turn."""
    write("whole.py", "import behind\n")
    write("behind.py", "")
    write("part.py", "def helper(): pass\nclass Kind: pass\n")
    write("objects.py", "class Thing: pass\n")
    write("unused.py", "")
    write(
        "tasks_a.py",
        "import whole, objects as o\nfrom part import helper\nthing = o.Thing()\ndel o\n"
        "def task(): return helper, whole\n",
    )
    tasks = importlib.import_module("tasks_a")
    found = used_by([tasks.task])
    assert set(found) == {"tasks_a", "whole", "behind", "part", "objects"}
    assert found["behind"] == ModuleSource("behind", b"", whole_file("behind"), False)


def whole_file(name: str) -> str:
    """Where a module was found."""
    return str(sys.modules[name].__file__)


def test_used_by_finds_a_whole_package_when_one_module_of_it_is_used(write: Write) -> None:
    """The parents travel too, since importing the module imports them."""
    write("pack/__init__.py", "")
    write("pack/inner/__init__.py", "")
    write("pack/inner/deep.py", "def task(): pass\n")
    write("pack/other.py", "")
    deep = importlib.import_module("pack.inner.deep")
    found = used_by([deep.task])
    assert {name: source.package for name, source in found.items()} == {
        "pack": True,
        "pack.inner": True,
        "pack.inner.deep": False,
    }


def test_used_by_skips_what_is_no_file_when_a_package_has_none(write: Write) -> None:
    """A namespace package has nothing to send; its modules have."""
    write("space/module.py", "def task(): pass\n")
    module = importlib.import_module("space.module")
    assert set(used_by([module.task])) == {"space.module"}


def test_used_by_leaves_out_what_is_installed() -> None:
    """The standard library, installed packages, built-ins and bgpy are there by name."""
    scope = {"np": np, "os": os, "sys": sys, "Catalogue": Catalogue, "len": len, "__name__": "x"}
    exec("def task(): return np, os, sys, Catalogue, len", scope)
    assert used_by([scope["task"]]) == {}


def test_used_by_leaves_out_the_script_itself(write: Write) -> None:
    """What lies in `__main__` goes by value; the modules it uses by name."""
    write("helper_b.py", "def helper(): pass\n")
    helper = importlib.import_module("helper_b")
    scope = {"__name__": "__main__", "helper": helper.helper}
    exec("def task(): return helper()", scope)
    assert set(used_by([scope["task"]])) == {"helper_b"}


SHAPES = [
    "wrapped",
    "partial",
    "method",
    "instance",
    "closure",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_used_by_looks_through_when_a_function_is_wrapped(write: Write, shape: str) -> None:
    """Decorators, partials, methods and closures lead to the module all the same."""
    write(
        "shapes.py",
        "def task(): pass\nclass Tasks:\n"
        "    def method(self): pass\n    def __call__(self): pass\n",
    )
    shapes = importlib.import_module("shapes")
    task = shapes.task

    @functools.wraps(task)
    def wrapped() -> object:
        return None

    values: dict[str, Callable[..., object]] = {
        "wrapped": wrapped,
        "partial": functools.partial(task),
        "method": shapes.Tasks().method,
        "instance": shapes.Tasks(),
        "closure": (lambda inner: lambda: inner)(task),
    }
    assert "shapes" in used_by([values[shape]])


# What a server has


def test_hashes_tells_versions_apart_when_nothing_is_imported(write: Write) -> None:
    """Files are found and read; the user's code doesn't run."""
    write("raises_a.py", "raise SystemExit\n")
    write("pack_a/__init__.py", "raise SystemExit\n")
    write("pack_a/inner.py", "raise SystemExit\n")
    write("space_a/deep/module.py", "raise SystemExit\n")
    names = ["raises_a", "pack_a", "pack_a.inner", "space_a.deep.module", "none_such", "none.such"]
    text = digest(b"raise SystemExit\n")  # what hashing imports is there now
    before = set(sys.modules)
    hashes = Catalogue().hashes(names)
    assert set(sys.modules) == before
    assert [hashes[name] for name in names] == [text, text, text, text, None, None]


@pytest.mark.parametrize("name", ["sys", "_ctypes", "", ".", "a..b", "os.path", "space_b"])
def test_hashes_has_none_when_a_name_is_no_module_of_the_users(write: Write, name: str) -> None:
    """Built-in, compiled, a namespace, or no name at all: no failure."""
    write("space_b/module.py", "")
    assert Catalogue().hashes([name]) == {name: None}


def test_hashes_keeps_the_hash_of_what_was_loaded_when_the_file_changes(write: Write) -> None:
    """What counts is what runs here, not what lies on the disk meanwhile."""
    catalogue = Catalogue()
    write("changing.py", "VALUE = 1\n")
    old = catalogue.hashes(["changing"])
    write("changing.py", "VALUE = 2\n")
    assert catalogue.hashes(["changing"]) != old
    new = catalogue.hashes(["changing"])
    importlib.import_module("changing")
    assert catalogue.hashes(["changing"]) == new
    write("changing.py", "VALUE = 3\n")
    assert catalogue.hashes(["changing"]) == new


# Installing


def _source(name: str, text: str, package: bool = False) -> ModuleSource:
    return ModuleSource(name, text.encode(), f"/elsewhere/{name.replace('.', '/')}.py", package)


def test_install_makes_modules_importable_when_they_are_not_here() -> None:
    """Under their own names, with their lines in tracebacks."""
    Catalogue().install([_source("sent_a", "def fail():\n    raise KeyError  # this line\n")])
    module = importlib.import_module("sent_a")
    assert module.__file__ == "/elsewhere/sent_a.py"
    with pytest.raises(KeyError) as caught:
        module.fail()
    assert "# this line" in "".join(traceback.format_exception(caught.value))
    linecache.checkcache()


def test_install_replaces_an_older_version_when_one_was_loaded(write: Write) -> None:
    """From the disk here, or sent before."""
    catalogue = Catalogue()
    write("sent_b.py", "VALUE = 'on disk'\n")
    assert importlib.import_module("sent_b").VALUE == "on disk"
    for text in ("VALUE = 'first'\n", "VALUE = 'second'\n"):
        catalogue.install([_source("sent_b", text)])
        assert importlib.import_module("sent_b").VALUE in text
        assert catalogue.hashes(["sent_b"]) == {"sent_b": digest(text.encode())}


def test_install_renews_what_uses_a_module_when_that_is_replaced() -> None:
    """A module that imported from the older version must not hold on to it."""
    catalogue = Catalogue()
    user = _source("sent_user", "from sent_used import VALUE\n")
    catalogue.hashes(["sent_user", "sent_used"])
    catalogue.install([user, _source("sent_used", "VALUE = 'old'\n")])
    assert importlib.import_module("sent_user").VALUE == "old"
    catalogue.install([_source("sent_used", "VALUE = 'new'\n")])
    assert importlib.import_module("sent_user").VALUE == "new"


def test_install_renews_a_package_with_its_modules_when_it_is_replaced() -> None:
    """A module of the new package is found as its attribute."""
    catalogue = Catalogue()
    catalogue.hashes(["sent_p", "sent_p.inner"])
    inner = _source("sent_p.inner", "VALUE = 1\n")
    catalogue.install([_source("sent_p", "", True), inner])
    importlib.import_module("sent_p.inner")
    catalogue.install([_source("sent_p", "NEW = True\n", True)])
    importlib.import_module("sent_p.inner")
    package = importlib.import_module("sent_p")
    assert package.NEW
    assert package.inner.VALUE == 1


def test_install_finds_packages_when_they_were_sent_whole() -> None:
    """Relative imports work, and modules of namespace packages have their parents."""
    Catalogue().install(
        [
            _source("sent_pack", "from .inner import VALUE\n", True),
            _source("sent_pack.inner", "VALUE = 5\n"),
            _source("sent_space.deep.module", "VALUE = 6\n"),
        ]
    )
    assert importlib.import_module("sent_pack").VALUE == 5
    assert importlib.import_module("sent_space.deep.module").VALUE == 6
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sent_space.other")


class _Strange:
    """A finder of another program's, which some names surprise."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        raise ModuleNotFoundError(name)


def test_hashes_asks_other_finders_when_one_knows_no_parent(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 3.15 on Python's own raises `ModuleNotFoundError` below a package not imported."""
    write("lone_space/below/part.py", "VALUE = 7\n")
    monkeypatch.setattr(sys, "meta_path", [_Strange(), *map(_Later, sys.meta_path)])
    assert Catalogue().hashes(["lone_space.below.part"])["lone_space.below.part"] is not None


class _Later:
    """A finder of 3.11 as it will be."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        try:
            return self._finder.find_spec(name, path, target)
        except KeyError as error:
            raise ModuleNotFoundError(name) from error


def test_install_adds_to_a_namespace_package_when_part_of_it_is_here(write: Write) -> None:
    """What is here stays importable beside what was sent."""
    write("shared_space/here.py", "VALUE = 'here'\n")
    Catalogue().install([_source("shared_space.sent", "VALUE = 'sent'\n")])
    assert importlib.import_module("shared_space.here").VALUE == "here"
    assert importlib.import_module("shared_space.sent").VALUE == "sent"


def test_install_changes_nothing_when_nothing_is_lacking() -> None:
    """Not even the finders: most servers run beside their clients' files."""
    before = list(sys.meta_path)
    Catalogue().install([])
    assert sys.meta_path == before


def test_install_reads_the_source_as_python_would_when_it_declares_its_encoding() -> None:
    """Bytes travel, not text."""
    text = "# -*- coding: latin-1 -*-\nVALUE = 'größe'\n".encode("latin-1")
    Catalogue().install([ModuleSource("sent_latin", text, "/elsewhere/sent_latin.py", False)])
    assert importlib.import_module("sent_latin").VALUE == "größe"


def test_package_data_can_be_read_where_the_files_are_here(write: Write, tmp_path: Path) -> None:
    """By `importlib.resources` and `pkgutil`, of packages, of those without a file, of modules."""
    write("data_p/table.txt", "of the package")
    write("data_p/inner/table.txt", "of the inner one")
    write("data_p/inner/deep/more.bin", "in a folder")
    write("data_s/space/table.txt", "of the namespace")
    write("data_p/beside.py", "")

    def source(name: str, package: bool = False) -> ModuleSource:
        path = name.replace(".", "/") + ("/__init__.py" if package else ".py")
        return ModuleSource(name, b"", str(tmp_path / path), package)

    sources = [source("data_p", True), source("data_p.inner", True), source("data_s.space.module")]
    Catalogue().install(sources)
    sys.path.remove(str(tmp_path))
    for name, text in (
        ("data_p", "of the package"),
        ("data_p.inner", "of the inner one"),
        ("data_s.space", "of the namespace"),
    ):
        folder = importlib.resources.files(name)
        assert (folder / "table.txt").read_text() == text
        with importlib.resources.as_file(folder / "table.txt") as path:
            assert path.read_text() == text
    assert importlib.resources.files("data_p.inner").joinpath("deep/more.bin").is_file()
    assert pkgutil.get_data("data_p", "table.txt") == b"of the package"
    assert pkgutil.get_data("data_s.space.module", "table.txt") == b"of the namespace"
    package = importlib.import_module("data_p")
    names = [each.name for each in pkgutil.iter_modules(package.__path__)]
    assert names == ["beside"] or set(names) == {"beside", "inner"}
    with pytest.raises(FileNotFoundError):
        pkgutil.get_data("data_p", "no such")


def test_package_data_is_missing_by_name_where_the_files_are_elsewhere() -> None:
    """As for any package whose file was forgotten."""
    Catalogue().install([_source("sent_q", "", True)])
    with pytest.raises(FileNotFoundError, match=r"table\.txt"):
        importlib.resources.files("sent_q").joinpath("table.txt").read_text()
    with pytest.raises(FileNotFoundError, match=r"table\.txt"):
        pkgutil.get_data("sent_q", "table.txt")


def test_source_that_was_sent_is_shown_when_the_file_here_is_another(
    write: Write, tmp_path: Path
) -> None:
    """In tracebacks and by `inspect`, also after the cache of lines was checked."""
    path = write("shown.py", "def f(): pass  # on disk, and longer\n")
    text = b"def f():\n    return 1  # as sent\n"
    Catalogue().install([ModuleSource("shown", text, str(path), False)])
    module = importlib.import_module("shown")
    linecache.checkcache()
    assert inspect.getsource(module.f) == text.decode()
    assert inspect.getsource(module) == text.decode()
    assert module.__loader__.is_package("shown") is False  # type: ignore[union-attr]
    linecache.cache.pop(str(path))


# All the way


TASKS = """
import helper_c
COUNT = [0]
def init_task():
    return helper_c.Thing()
def exec_task(client_socket, state, args):
    COUNT[0] += 1
    return state
def exit_task(client_socket, state, args):
    return COUNT[0]
"""


def _send(catalogue: Catalogue, tasks: ModuleType, hashes: dict[str, str | None]) -> Packed:
    three = (tasks.init_task, tasks.exec_task, tasks.exit_task)
    return encode_tasks(three, used_by(three), hashes)


def test_tasks_arrive_with_what_they_use_when_the_server_has_nothing(
    write: Write, tmp_path: Path
) -> None:
    """Rebuilt by reference to the modules that came along, which are one and the same."""
    write("helper_c.py", "class Thing: pass\n")
    write("tasks_c.py", TASKS)
    tasks = importlib.import_module("tasks_c")
    there = Catalogue()
    packed = _send(there, tasks, {"tasks_c": None, "helper_c": None})
    _hide(tmp_path, "tasks_c", "helper_c")
    init_task, exec_task, exit_task = functions.decode_tasks(packed, there)
    assert type(init_task()) is importlib.import_module("helper_c").Thing
    exec_task(None, None, {})
    assert exit_task(None, None, {}) == 1
    assert init_task.__module__ == "tasks_c"


def test_tasks_travel_without_sources_when_the_server_has_them(write: Write) -> None:
    """Only what is missing, or another version, is sent."""
    write("helper_c.py", "class Thing: pass\n")
    write("tasks_c.py", TASKS)
    tasks = importlib.import_module("tasks_c")
    here = Catalogue()
    same = here.hashes(["tasks_c", "helper_c"])
    assert b"class Thing" not in _send(here, tasks, same).head
    assert b"class Thing" in _send(here, tasks, {**same, "helper_c": "another"}).head


@pytest.mark.parametrize("error", [ValueError, TypeError, RuntimeError])
def test_hashes_are_given_when_a_finder_of_others_fails(
    write: Write, error: type[Exception]
) -> None:
    """Import hooks of other packages may meet a name that they can't even look at."""
    write("theirs.py", "x = 1")

    class Surprised:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            raise error(name)

    sys.meta_path.insert(0, Surprised())  # type: ignore[arg-type]
    hashes = Catalogue().hashes(["/", "theirs"])
    assert hashes == {"/": None, "theirs": digest(b"x = 1")}


def test_hashes_take_little_memory_when_a_name_is_long() -> None:
    """What a name with many dots costs is its own length, not the square of it."""
    name = ".".join(["no_such"] * 10_000)
    tracemalloc.start()
    try:
        assert Catalogue().hashes([name]) == {name: None}
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["plain_module", "Ünlaut", "mödul", "модуль", "中文", "pack_äge.mod_ōl", "a" * 200]
)
def test_named_in_finds_a_module_by_whatever_letters(write: Write, name: str) -> None:
    """Among other names, and bytes that look like the beginning of one."""
    *packages, last = name.split(".")
    for package in packages:
        write(f"{package}/__init__.py", "")
    write("/".join([*packages, f"{last}.py"]), "def step(): pass\nclass Kind: pass\n")
    module = importlib.import_module(name)
    for value in (module.step, module.Kind(), [b"\x8c\xd4\x8c", module.Kind]):
        head = pickle.dumps({"args": value, "text": "os", "more": "step"}, protocol=5)
        assert named_in(texts_in(head)) == [name]
    assert versions([name]).keys() == {name, *packages}
    assert named_in(texts_in(pickle.dumps({"text": "numpy"}, protocol=5))) == []
