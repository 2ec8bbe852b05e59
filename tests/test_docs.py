"""The programs shown in README and docs do what is shown.

A ``python`` block that is followed at once by a ``text`` block is a whole program and
its output: it is run in a process of its own, and what it prints is compared. Other
blocks are pieces, for reading only.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
QUICKSTART = ROOT / "examples" / "quickstart.py"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

PATH_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block of a page."""

    line: int
    language: str
    text: str
    end: int


class Example(NamedTuple):
    """A program on a page, and the output shown for it."""

    program: str
    output: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page in their order; `end` is where the text after one begins."""
    return [
        Block(page.count("\n", 0, match.start()) + 1, match["language"], match["text"], match.end())
        for match in FENCE.finditer(page)
    ]


def examples(page: str) -> dict[int, Example]:
    """The programs of a page that are shown with their output, by the line they stand at."""
    found = blocks(page)
    return {
        block.line: Example(block.text, after.text)
        for block, after in pairwise(found)
        if (block.language, after.language) == ("python", "text")
        and page[block.end :].lstrip().startswith("```text\n")
    }


def run(program: str, folder: Path) -> str:
    """What `program` prints when it is run as a script in `folder`; it has to succeed."""
    script = folder / "example.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(example, id=f"{page.relative_to(ROOT).as_posix()}:{line}")
        for page in PAGES
        for line, example in examples(page.read_text(encoding="utf-8")).items()
    ],
)
def test_example_prints_what_is_shown_when_run(example: Example, tmp_path: Path) -> None:
    """Each program shown with an output prints exactly that."""
    assert run(example.program, tmp_path) == example.output


def test_readme_opens_with_the_quickstart_when_read_beside_it() -> None:
    """The README's first program is examples/quickstart.py, and its output is shown."""
    page = README.read_text(encoding="utf-8")
    first = next(block for block in blocks(page) if block.language == "python")
    assert first.text.encode() == QUICKSTART.read_bytes()
    assert examples(page)[first.line].output.strip()


def test_examples_takes_programs_alone_when_a_page_shows_pieces_too() -> None:
    """Only a block with its output right below it counts as a program."""
    page = (
        "```python\npiece\n```\n\nWords.\n\n```text\nno output\n```\n"
        "```python\nprint(1)\n```\n\n```text\n1\n```\n```shell\nls\n```\n```python\nlast\n```\n"
    )
    assert examples(page) == {10: Example("print(1)\n", "1\n")}


def test_run_fails_when_the_program_does(tmp_path: Path) -> None:
    """A program that raises is a failure, whatever it printed before."""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run("print('so far')\n1 / 0\n", tmp_path)


# What a page names that isn't ours: examples of a name, and folders of the user's.
NO_PATHS = {"src/bgpy/a/b.py", "tests/a/test_b.py", "servers/", "tokens/"}

NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]*)+)`")
DOTTED = re.compile(r"`(bgpy(?:\.\w+)+)(?:\(\))?`")


def paths_named(page: str) -> set[str]:
    """The files and folders of this repository that a page names in backquotes."""
    tops = {path.name for path in ROOT.iterdir()}
    found = {match[1] for match in NAMED.finditer(FENCE.sub("", page))} - NO_PATHS
    ours = {path for path in found if not path.startswith("MACHINE/")}  # a folder of the user's
    return {
        path
        for path in ours
        if path.endswith(("/", ".py", ".md", ".svg")) or path.partition("/")[0] in tops
    }


def exists(path: str, page: Path) -> bool:
    """Whether there is such a path, seen from the root, the package, a package or the page."""
    package = ROOT / "src" / "bgpy"
    if any((base / path).exists() for base in (ROOT, package, package.parent, page.parent)):
        return True
    return path.endswith("/") and any(each.is_dir() for each in package.rglob(path.rstrip("/")))


@pytest.mark.parametrize("page", PATH_PAGES, ids=lambda page: page.name)
def test_paths_that_pages_name_exist(page: Path) -> None:
    """Who moves a file finds the pages that name it; decisions say where things are today."""
    named = paths_named(page.read_text(encoding="utf-8"))
    assert [path for path in sorted(named) if not exists(path, page)] == []


@pytest.mark.parametrize("page", PATH_PAGES, ids=lambda page: page.name)
def test_modules_and_names_that_pages_name_exist(page: Path) -> None:
    """Whatever begins with ``bgpy.`` is a module, or found in one."""
    missing = []
    for name in sorted({match[1] for match in DOTTED.finditer(page.read_text(encoding="utf-8"))}):
        try:
            pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            missing.append(name)
    assert missing == []


def test_paths_are_found_in_a_page() -> None:
    """Those in backquotes, of files and folders of this repository, and no others."""
    page = (
        "`serving/gone.py`, `io/`, `tests/api`, `1/2`, `a/b`, `docs/x.md`\n```text\n`x/y.py`\n```\n"
    )
    assert paths_named(page) == {"serving/gone.py", "io/", "tests/api", "docs/x.md"}
    assert not exists("serving/gone.py", README)
    assert exists("io/", README)


DESIGN = ROOT / "docs" / "design"
MEMBER = re.compile(r"`([A-Z]\w+)\.(\w+)(?:\([^`]*\))?`")


def test_every_decision_has_its_number_and_its_line_in_the_index() -> None:
    """A page's title begins with its file's number; the index has both, and no other pages."""
    pages = sorted(DESIGN.glob("0*.md"))
    heads = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    assert [head.partition(". ")[0] for head in heads] == [
        f"# {int(page.name[:4])}" for page in pages
    ]
    lines = [
        f"| [{int(page.name[:4])}]({page.name}) | {head.partition('. ')[2]} |"
        for page, head in zip(pages, heads, strict=True)
    ]
    index = (DESIGN / "README.md").read_text(encoding="utf-8").splitlines()
    listed = [line.rsplit("|", 2)[0] + "|" for line in index if line.startswith("| [")]
    assert listed == lines


def members(source: Path) -> dict[str, set[str]]:
    """By the name of each class of the package: what any class of that name has or inherits."""
    own: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own.setdefault(node.name, set()).update(_names_in(node))
                bases.setdefault(node.name, set()).update(
                    base.id for base in node.bases if isinstance(base, ast.Name)
                )
    for name in own:
        ahead, seen = [name], set()
        while ahead:
            at = ahead.pop()
            if at not in seen:
                seen.add(at)
                own[name] |= own.get(at, set())
                ahead += bases.get(at, set())
    return own


def _names_in(body: ast.ClassDef) -> set[str]:
    """Functions, annotated and assigned names, and what is assigned to ``self``."""
    found = set()
    for node in ast.walk(body):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def members_missing(page: str, known: dict[str, set[str]]) -> list[str]:
    """Names like ``Class.member`` on a page whose class is ours and has no such member."""
    named = sorted(set(MEMBER.findall(page)))
    return [f"{of}.{name}" for of, name in named if of in known and name not in known[of]]


def test_members_that_pages_name_exist() -> None:
    """What a page calls by a class of the package is there under that name."""
    known = members(ROOT / "src" / "bgpy")
    missing = {
        page.name: names
        for page in PATH_PAGES
        if (names := members_missing(page.read_text(encoding="utf-8"), known))
    }
    assert missing == {}


def test_members_missing_finds_what_no_class_has() -> None:
    """The check above can fail: an own member and an inherited one are there, others not."""
    known = {"Base": {"there"}, "Transport": {"sock", "there"}}
    page = "`Transport.sock`, `Transport.direct()`, `Transport.there`, `Other.thing`, Transport.x"
    assert members_missing(page, known) == ["Transport.direct"]
