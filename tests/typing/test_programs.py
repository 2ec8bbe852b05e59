"""What type checkers tell users: their programs are accepted, their mistakes found.

``tests/support/typed`` has whole programs. Those in ``accepted`` run, and mypy (strict) and
pyright find no error in them. In ``rejected`` each line with ``# E: code`` has that error of
mypy's, pyright finds one there too, and no other line has any.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TYPED = ROOT / "tests" / "support" / "typed"
ACCEPTED = sorted((TYPED / "accepted").glob("*.py"))
REJECTED = sorted((TYPED / "rejected").glob("*.py"))

Errors = dict[str, dict[int, set[str]]]
"""Codes of errors by file and line."""


def marked(program: Path) -> dict[int, set[str]]:
    """The errors that a program says it has, by line."""
    lines = program.read_text(encoding="utf-8").splitlines()
    return {
        number: set(line.partition("# E: ")[2].split(", "))
        for number, line in enumerate(lines, 1)
        if "# E: " in line
    }


@pytest.fixture(scope="module")
def by_mypy() -> Errors:
    """What mypy finds in all of them."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, programs())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not done.stderr, done.stderr
    found: Errors = defaultdict(lambda: defaultdict(set))
    for path, line, code in re.findall(
        r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE
    ):
        found[Path(path).name][int(line)].add(code)
    return found


@pytest.fixture(scope="module")
def by_pyright(tmp_path_factory: pytest.TempPathFactory) -> Errors:
    """What pyright finds in all of them, as its standard mode does."""
    here = str(Path(sys.executable).parent)
    names = ("pyright", "basedpyright")
    pyright = next(
        (each for name in names if (each := shutil.which(name) or shutil.which(name, path=here))),
        None,
    )
    if pyright is None:
        pytest.skip("pyright is not installed: it needs node, 280 MB with it (pip: basedpyright)")
    settings = tmp_path_factory.mktemp("pyright") / "pyrightconfig.json"
    settings.write_text(
        json.dumps({"typeCheckingMode": "standard", "include": [str(TYPED)]}), encoding="utf-8"
    )
    done = subprocess.run(
        [pyright, "-p", str(settings), "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == len(programs())
    found: Errors = defaultdict(lambda: defaultdict(set))
    for each in report["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found[Path(each["file"]).name][line].add(each.get("rule", ""))
    return found


def programs() -> list[Path]:
    """All of them."""
    return [*ACCEPTED, *REJECTED]


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.stem)
def test_mypy_finds_what_is_wrong_and_nothing_else(program: Path, by_mypy: Errors) -> None:
    """Each mistake is found at its line, as the kind that it is; what works is accepted."""
    assert by_mypy.get(program.name, {}) == marked(program)


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.stem)
def test_pyright_finds_what_is_wrong_and_nothing_else(program: Path, by_pyright: Errors) -> None:
    """The same lines as mypy: users of either learn the same."""
    assert sorted(by_pyright.get(program.name, {})) == sorted(marked(program))


@pytest.mark.parametrize(
    ("program", "output"),
    [
        ("as_in_0_3_1", "1010 Exited."),
        ("shapes_of_tasks", "[7, 1, 4, 7]\n4 1\n1\nTrue"),
        (
            "all_of_a_client",
            "True {'message': \"Received 'EXEC'\"}\nno response: False False False\n"
            "{'message': \"Received 'EXIT'\"}\nTrue True",
        ),
    ],
)
def test_what_type_checkers_accept_runs(program: str, output: str, tmp_path: Path) -> None:
    """The types tell the truth: a program that they accept does what it says."""
    done = subprocess.run(
        [sys.executable, str(TYPED / "accepted" / f"{program}.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == output


def test_every_program_is_tried() -> None:
    """Those that are accepted run, those that are rejected have a mistake."""
    assert {path.stem for path in ACCEPTED} == {"as_in_0_3_1", "shapes_of_tasks", "all_of_a_client"}
    assert all(marked(path) for path in REJECTED)
    assert not any(marked(path) for path in ACCEPTED)
