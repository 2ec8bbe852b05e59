"""The house: helpers of tests stand in ``tests/support``, modules have tests, names one meaning.

A test file that imports another one, or a conftest, drags fixtures and tests along and
can't be moved; so what two files need is a module of ``tests/support``, which imports
nothing of the tests but its neighbours there. ``src/bgpy/a/b.py`` is tested by
``tests/a/test_b.py``: who changes the one finds the other. And what one module calls by a
name no other calls so: a reader, or an import, can't take one for the other.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.support.order import LONGEST, place

TESTS = Path(__file__).parent
SUPPORT = TESTS / "support"
SOURCE = TESTS.parent / "src" / "bgpy"

# What has nothing of its own to test: names that other modules bring, and a number.
THIN = {
    "__main__.py": "one call, which every test of the command line makes",
    "client.py": "an import path of 0.3.1, see test_compatibility.py",
    "core/environment.py": "an import path of 0.3.1, see test_compatibility.py",
    "core/message.py": "an import path of 0.3.1, see test_compatibility.py",
    "core/sockets.py": "an import path of 0.3.1, see test_compatibility.py",
    "core/token.py": "an import path of 0.3.1, see test_compatibility.py",
    "server.py": "an import path of 0.3.1, see test_compatibility.py",
    "serving/sessions/owner.py": "a protocol, which mypy checks",
    "tasks/engine.py": "a protocol, which mypy checks",
    "tasks/protocols.py": "protocols, see tests/typing",
    "version.py": "a number",
}

# Tested through others so far. A line is deleted when the module gets its file; new modules come
# with theirs.
WITHOUT: set[str] = set()

# Names that several modules have, and why no reader takes one for another.
SHARED = {
    "Message": "0.3.1's, and what the wire carries: the word of either for all that is said",
    "Progress": "of a call as its error tells it, and a message of the protocol",
    "TRANSITIONS": "of the one state machine of its module",
}


def imported(source: str) -> set[str]:
    """The modules of the tests that a text imports, by their dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "tests are no package: import them by their whole names"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.partition(".")[0] in ("tests", "conftest")}


def test_imports_are_found_in_whatever_way_they_are_written() -> None:
    """What the next test looks at: all imports of the tests, and no others."""
    source = """
import os, tests.api.test_calls as calls
from bgpy import Client
def inside():
    from tests.support.gate import Gate
    from conftest import Start
"""
    assert imported(source) == {
        "tests.api.test_calls",
        "tests.support.gate.Gate",
        "conftest.Start",
    }


def test_only_support_is_imported() -> None:
    """No test file imports a test file or a conftest, and no helper imports either."""
    wrong = [
        f"{path.relative_to(TESTS)} imports {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for name in sorted(imported(path.read_text(encoding="utf-8")))
        if not name.startswith("tests.support.")
    ]
    assert not wrong


def test_folders_of_tests_hold_nothing_but_tests() -> None:
    """A module beside test files would be a helper that others can't find."""
    strays = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("*.py"))
        if SUPPORT not in path.parents
        and not path.name.startswith("test_")
        and path.name != "conftest.py"
    ]
    assert not strays


def test_longest_files_exist_and_come_first() -> None:
    """Who moves one of them moves its line in ``tests/support/order.py``."""
    assert [file for file in LONGEST if not (TESTS / file).is_file()] == []
    begun = sorted(["tests/test_suite.py", *(f"tests/{file}::test" for file in LONGEST)], key=place)
    assert begun[0] == f"tests/{LONGEST[0]}::test"
    assert begun[-1] == "tests/test_suite.py"


def test_every_module_has_its_test_file() -> None:
    """At the mirrored path; ``__init__`` and `THIN` have none, `WITHOUT` have none yet."""
    untested = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if path.name != "__init__.py"
        and not (
            TESTS / path.relative_to(SOURCE).parent / f"test_{path.stem.strip('_')}.py"
        ).exists()
    }
    assert sorted(untested - WITHOUT - set(THIN)) == [], "give these a test file"
    assert sorted(set(THIN) - untested) == [], "thin no longer: delete their lines in THIN"
    assert sorted(WITHOUT - untested) == [], "they have theirs now: delete their lines in WITHOUT"


def defined(source: str) -> set[str]:
    """The public classes, types and constants that a module defines, not its functions.

    Functions are verbs and may do alike to different things: `records.find`, `tokens.find`.
    Type variables, of one letter, stand for nothing outside of their signature.
    """
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                found |= {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
    return {name for name in found if name[0].isupper() and len(name) > 1}


def test_names_are_found_where_a_module_defines_them() -> None:
    """What the next test looks at: not what is imported, private, a function or a variable."""
    source = """
from other import Borrowed
T = TypeVar("T")
log = getLogger()
_MINE = 1
FIRST, SECOND = 1, 2
Alias: TypeAlias = int
class Thing:
    INSIDE = 1
def find(): ...
"""
    assert defined(source) == {"FIRST", "SECOND", "Alias", "Thing"}


def test_a_name_has_one_meaning() -> None:
    """No two modules define the same class, type or constant, but for those in `SHARED`."""
    homes = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        for name in defined(path.read_text(encoding="utf-8")):
            homes[name].append(path.relative_to(SOURCE).as_posix())
    twice = {name: found for name, found in homes.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in SHARED} == {}
    assert sorted(SHARED.keys() - twice.keys()) == [], "shared no longer: delete their lines"
