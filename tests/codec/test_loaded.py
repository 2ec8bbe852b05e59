"""What is loaded, whatever has become of its file."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bgpy.codec import loaded
from bgpy.codec.loaded import ModuleSource, digest, source_of, version

BEFORE = "VALUE = 1\n\nclass Kind:\n    @property\n    def value(self): return VALUE\n"
CODE = BEFORE.replace("return VALUE", "return VALUE + 1  # and longer")
CONSTANT = BEFORE.replace("VALUE = 1", "VALUE = 12345")


@pytest.fixture(autouse=True)
def imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder on the path, and the modules as they were; each file may be a newer one."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(loaded, "_began", 0.0)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield
    for name in sys.modules.keys() - before:
        del sys.modules[name]


def _imported(folder: Path, name: str, text: str = BEFORE) -> tuple[Path, ModuleType]:
    path = folder / f"{name}.py"
    path.write_text(text, newline="\n")
    importlib.invalidate_caches()
    return path, importlib.import_module(name)


def _source(name: str) -> ModuleSource:
    found = source_of(name)
    assert found is not None
    return found


def test_source_is_that_of_the_file_as_long_as_it_stays(tmp_path: Path) -> None:
    """With its bytes, where it lies, and its version."""
    path, _ = _imported(tmp_path, "stays")
    source = _source("stays")
    assert source == ModuleSource("stays", BEFORE.encode(), str(path), False)
    assert version(source) == digest(BEFORE.encode())


def test_source_stays_until_the_module_is_reloaded(tmp_path: Path) -> None:
    """What was seen first is what is loaded."""
    path, module = _imported(tmp_path, "reloaded")
    _source("reloaded")
    path.write_text(CODE, newline="\n")
    assert _source("reloaded").text == BEFORE.encode()
    importlib.invalidate_caches()
    importlib.reload(module)
    assert _source("reloaded").text == CODE.encode()


@pytest.mark.parametrize("after", [CODE, CONSTANT])
def test_cached_code_is_taken_when_the_file_was_edited_before(tmp_path: Path, after: str) -> None:
    """It is what was loaded; a function or a constant may have changed."""
    path, module = _imported(tmp_path, "edited_a")
    assert module.__spec__ is not None
    cached = Path(str(module.__spec__.cached)).read_bytes()
    path.write_text(after, newline="\n")
    source = _source("edited_a")
    assert (source.text, source.code, source.edited) == (b"", cached, False)
    assert version(source).startswith("code ")


def test_source_is_lost_when_there_is_no_cached_code(tmp_path: Path) -> None:
    """Its version is like no other, so that it is noticed."""
    path, module = _imported(tmp_path, "edited_b")
    assert module.__spec__ is not None
    os.unlink(str(module.__spec__.cached))
    path.write_text(CODE, newline="\n")
    source = _source("edited_b")
    assert (source.text, source.edited) == (CODE.encode(), True)
    assert version(source) not in (digest(CODE.encode()), digest(BEFORE.encode()))


def test_source_is_the_files_when_only_comments_or_the_time_have_changed(tmp_path: Path) -> None:
    """What runs is the same."""
    path = tmp_path / "commented.py"
    path.write_text("VALUE = 1\ndef value(): return VALUE\n", newline="\n")
    importlib.import_module("commented")
    text = f"# a comment\n\n{path.read_text()}"
    path.write_text(text, newline="\n")
    assert _source("commented") == ModuleSource("commented", text.encode(), str(path), False)


@pytest.mark.parametrize("name", ["os", "sys", "numpy", "bgpy", "no_such_module", "", "__main__"])
def test_source_of_is_none_for_what_is_not_the_users(name: str) -> None:
    """The standard library, packages, and what there isn't."""
    assert source_of(name) is None


def test_beginning_is_before_now() -> None:
    """Or unknown, and then each file is looked at."""
    import time

    assert 0.0 <= loaded._beginning() < time.time()


def test_source_is_the_files_when_another_loader_changes_what_it_compiles_to(
    tmp_path: Path,
) -> None:
    """As pytest does with its asserts: a test file that was just written isn't said to be lost."""

    class Rewrites(SourceFileLoader):
        def source_to_code(self, data: Any, path: Any, *others: Any, **options: Any) -> Any:
            return compile(bytes(data).replace(b"return VALUE", b"return -VALUE"), path, "exec")

    path = tmp_path / "rewritten.py"
    path.write_text(BEFORE, newline="\n")
    spec = spec_from_file_location("rewritten", path, loader=Rewrites("rewritten", str(path)))
    assert spec is not None
    sys.modules["rewritten"] = module = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    assert module.Kind().value == -1
    assert _source("rewritten") == ModuleSource("rewritten", BEFORE.encode(), str(path), False)


def test_objects_of_a_module_are_not_asked_what_they_are(tmp_path: Path) -> None:
    """Its functions are found among them, also inside what Python's own decorators make."""
    before = BEFORE + (
        "import functools\n"
        "from tests.support.touchy import Touchy\n"
        "PROXY = Touchy()\n"
        "class Other:\n"
        "    proxy = PROXY\n"
        "    @classmethod\n"
        "    @functools.cache\n"
        "    def step(cls): return 1\n"
    )
    path, _ = _imported(tmp_path, "touchy", before)
    assert _source("touchy").text == before.encode()
    again, _ = _imported(tmp_path, "touchy2", before)
    again.write_text(before.replace("return 1", "return 1234"), newline="\n")
    assert _source("touchy2").code, "what is loaded is the cached code"
    assert path != again


def test_module_that_its_loader_changes_is_not_taken_for_an_edited_one(tmp_path: Path) -> None:
    """As pytest's, which rewrites assertions: its functions are never those of the file."""

    class Loader:
        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            exec(compile(CODE, str(path), "exec"), vars(module))

    path = tmp_path / "rewritten.py"
    path.write_text(BEFORE, newline="\n")
    spec = importlib.util.spec_from_file_location("rewritten", path, loader=Loader())  # type: ignore[arg-type]
    assert spec is not None
    sys.modules["rewritten"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["rewritten"])  # type: ignore[union-attr]
    assert not _source("rewritten").edited


def _patched(module: ModuleType, path: Path) -> None:
    """Have a loaded module run what its file holds now, without a reload, as autoreload does."""
    found: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), found)
    module.Kind.value.fget.__code__ = found["Kind"].value.fget.__code__


def test_source_is_the_edited_one_once_the_module_was_patched_in_place(tmp_path: Path) -> None:
    """It has its spec still; an edit alone changes nothing, and nor does a patch alone."""
    path, module = _imported(tmp_path, "patched")
    before = _source("patched")
    module.Kind.other = lambda self: 2
    assert _source("patched") is before
    del module.Kind.other
    path.write_text(CODE, newline="\n")
    assert _source("patched") is before
    _patched(module, path)
    after = _source("patched")
    assert (after.text, after.edited) == (CODE.encode(), False)
    assert _source("patched") is after
    path.unlink()
    assert _source("patched") is after
