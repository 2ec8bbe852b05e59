"""The program of a server's process before bgpy can be imported there."""

from __future__ import annotations

import ast
import marshal
import subprocess
import sys

import pytest

from bgpy.process.bootstrap import COMMAND, LINE_MAGIC, TEXT
from bgpy.process.readiness import messages


def test_program_knows_nothing_but_builtins_until_the_path_is_installed() -> None:
    """It may run where bgpy, or the standard library in Python, isn't found yet."""
    lines = TEXT[: TEXT.index("sys.path[:]")].splitlines()
    names = {
        alias.name
        for node in ast.walk(ast.parse("\n".join([*lines, "    pass"])))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert names == {"_signal", "marshal", "os", "sys"}
    assert "_signal" in sys.builtin_module_names


def run(settings: dict[str, object]) -> list[tuple[object, ...]]:
    """Run the program with these settings; what it says."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", COMMAND],
        input=marshal.dumps(TEXT) + marshal.dumps(settings),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return list(messages(done.stdout.splitlines(keepends=True)))


def test_program_says_that_bgpy_cant_be_imported() -> None:
    """With what was raised: the process is gone, and its launcher knows why."""
    told = run({"path": [], "options": {}, "token": "", "module": "none"})
    assert told[0][0] == "started"
    assert told[1][0] == "failed"
    assert "bgpy can't be imported in its own process" in str(told[1][1])


@pytest.mark.skipif(sys.platform == "win32", reason="without fork nobody stands between")
def test_program_says_how_the_server_died() -> None:
    """The starter learns it as its parent, and nobody else can."""
    told = run({"path": sys.path, "options": {}, "token": "", "module": "tests_have_no_such"})
    assert told[-1] == ("died", 1)


def test_magic_is_that_of_the_program() -> None:
    """The program can't import it, and has it written out."""
    assert repr(LINE_MAGIC)[2:-1].replace("x00", "0") in TEXT
