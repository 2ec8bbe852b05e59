"""README and docs show what is true: programs, files, commands, links, names, paths.

`tests.support.pages` says what on a page is run, and how.
"""

from __future__ import annotations

import ast
import importlib.util
import pickle
import pkgutil
import re
import shlex
from pathlib import Path

import click
import pytest

from bgpy.cli.commands import program
from tests.support.fixtures import free_port
from tests.support.pages import FENCE, MARK, Step, blocks, do, fits, notebook, steps

__all__ = ["free_port"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
QUICKSTART = ROOT / "examples" / "quickstart.py"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

PATH_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


def shown(page: Path) -> list[Step]:
    """What a page shows to be done."""
    return steps(page.read_text(encoding="utf-8"))


def name(page: Path) -> str:
    """What a page is called in a test's id."""
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not step.needs for step in shown(page))], ids=name
)
def test_page_does_what_it_shows(page: Path, tmp_path: Path, free_port: int) -> None:
    """Its programs and commands, from the top to the bottom, print exactly what is shown."""
    for step in shown(page):
        if not step.needs:
            do(step, tmp_path, free_port)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(step.needs for step in shown(page))], ids=name
)
def test_page_does_what_it_shows_with_others_packages(
    page: Path, tmp_path: Path, free_port: int
) -> None:
    """The same with those that need what bgpy doesn't."""
    needed = {module for step in shown(page) for module in step.needs}
    missing = [module for module in sorted(needed) if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed, and no dependency of the tests: {', '.join(missing)}")
    for step in shown(page):
        do(step, tmp_path, free_port)


def test_readme_opens_with_the_quickstart_when_read_beside_it() -> None:
    """The README's first program is examples/quickstart.py, and its output is shown."""
    first = shown(README)[0]
    assert first.kind == "program"
    assert first.what.encode() == QUICKSTART.read_bytes()
    assert first.text.strip()


def test_steps_are_found_on_a_page() -> None:
    """Programs with their output, files, commands and cells; other blocks are pieces."""
    page = """
```python
piece
```

Words.

```text
no output
```
```python
print(1)
```

```text
1
```
```python
# tasks.py
a = 1
```
<!-- needs: fastapi, httpx -->
```console
$ python tasks.py
$ bgpy version
1.0
```
```python cell
x = 1
```
```shell
ls
```
"""
    found = steps(page)
    assert found[:-1] == [
        Step(11, "program", "print(1)\n", "1\n"),
        Step(18, "file", "tasks.py", "# tasks.py\na = 1\n"),
        Step(23, "command", "python tasks.py", "", ("fastapi", "httpx")),
        Step(23, "command", "bgpy version", "1.0\n", ("fastapi", "httpx")),
    ]
    assert (found[-1].kind, found[-1].line) == ("cells", 0)


def test_step_fails_when_it_prints_something_else(tmp_path: Path) -> None:
    """A program that raises is a failure, whatever it printed before, and so is other output."""
    do(Step(1, "program", "print(24321)\n", "24321\n"), tmp_path, 4)
    assert (tmp_path / "example.py").read_text() == "print(4)\n"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        do(Step(1, "program", "print('so far')\n1 / 0\n", "so far\n..."), tmp_path, 4)
    with pytest.raises(AssertionError, match="line 7"):
        do(Step(7, "command", "python example.py", "something else\n"), tmp_path, 4)


def test_cells_run_one_after_another_in_main(tmp_path: Path) -> None:
    """As in a kernel: names stay from cell to cell, and no file is theirs."""
    page = """
```python cell
def where():
    return __name__, "__file__" in globals()
```
```python cell
print(where())
```

```text
('__main__', False)
```
"""
    (step,) = steps(page)
    do(step, tmp_path, 4)


def notebook_cells() -> list[str]:
    """The cells of the page about notebooks."""
    page = (ROOT / "docs" / "howto" / "notebook.md").read_text(encoding="utf-8")
    return [block.text for block in blocks(page) if block.info == "cell"]


def run_cells(cells: list[str], printed: list[str], folder: Path, port: int) -> None:
    """Run them in a kernel of their own; each prints what stands at its place."""
    do(
        Step(0, "cells", notebook(cells), "".join(f"{MARK}\n{each}" for each in printed)),
        folder,
        port,
    )


def failing(cell: str, before: str) -> str:
    """The cell, run as far as the line that begins with `before`."""
    return cell[: cell.index(f"\n{before}") + 1]


def test_notebook_can_be_run_again_from_the_top(tmp_path: Path, free_port: int) -> None:
    """Its first cells find the server that runs, with what it holds."""
    first, second, calls, more, *_ = notebook_cells()
    run_cells([first, second, calls], ["", "", "1 3\n"], tmp_path, free_port)
    cells = [first, second, more, "client.terminate()"]
    run_cells(cells, ["", "", "7\n", ""], tmp_path, free_port)


@pytest.mark.parametrize("before", ["Server(ADDRESS)", "client.initialize"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_notebook_keeps_the_state_where_its_cell_fails_and_is_run_again(
    tmp_path: Path, free_port: int, before: str, is_restarted: bool
) -> None:
    """Wherever it fails, and after a restart of the kernel too."""
    first, second, calls, _, again, *_ = notebook_cells()
    part = failing(again, before)
    cells, printed = [first, second, calls, part], ["", "", "1 3\n", ""]
    if is_restarted:
        run_cells(cells, printed, tmp_path, free_port)
        cells, printed = [first, second], ["", ""]
    cells += [again, again, "client.terminate()"]
    run_cells(cells, [*printed, "3\n", "3\n", ""], tmp_path, free_port)
    assert pickle.loads((tmp_path / "values.pickle").read_bytes()) == [1, 2, 3, 3]


@pytest.mark.parametrize("before", ["SAVED.unlink", "client.initialize"])
def test_notebook_throws_the_state_away_where_its_cell_is_run_again(
    tmp_path: Path, free_port: int, before: str
) -> None:
    """Wherever it failed."""
    first, second, calls, _, _, away, end = notebook_cells()
    cells = [first, second, calls, failing(away, before), away, end]
    printed = ["", "", "1 3\n", "", "2\n", "Received 'EXIT'\n"]
    run_cells(cells, printed, tmp_path, free_port)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_ports_on_a_page_are_free_for_servers(page: Path) -> None:
    """None is one that systems give to any client's connection, from 32768 on."""
    found = re.findall(r"[\w\])]:(\d{4,5})\b", page.read_text(encoding="utf-8"))
    assert [port for port in found if 32768 <= int(port) < 65536] == []


def test_dots_in_an_output_are_anything() -> None:
    """But they are all that is."""
    assert fits("a ... c\n", "a b\nb c\n")
    assert not fits("a ... c\n", "a b\n")
    assert not fits("a.b", "axb")


COMMAND = re.compile(r"(?:^|[\s'\"])bgpy ([^|&;#>'\"\n]*)")


def commands_shown(page: str) -> list[str]:
    """The command lines of bgpy's that the shell and console blocks of a page show."""
    return [
        match[1].strip()
        for block in blocks(page)
        if block.language in ("shell", "console", "bat")
        for line in block.text.splitlines()
        if block.language != "console" or line.startswith("$ ")
        for match in COMMAND.finditer(line)
    ]


@pytest.mark.parametrize("page", PATH_PAGES, ids=name)
def test_commands_that_pages_show_exist(page: Path) -> None:
    """Each with its options and as many arguments: what is shown can be typed."""
    for line in commands_shown(page.read_text(encoding="utf-8")):
        command: click.Command = program
        words = shlex.split(line)
        while isinstance(command, click.Group) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        try:
            command.make_context(line, words, resilient_parsing=False)
        except click.exceptions.Exit:  # --help, --version
            pass
        except click.UsageError as error:
            pytest.fail(f"bgpy {line}: {error.format_message()}")


def test_commands_are_found_in_a_page() -> None:
    """Behind a pipe, behind SSH, and not what a program prints."""
    page = (
        "```shell\nssh HOST bgpy token show A | bgpy add B  # why\n"
        "nohup bgpy server A -f l &\n```\n"
        "```console\n$ bgpy version\nbgpy 1\n```\n"
    )
    found = ["token show A", "add B", "server A -f l", "version"]
    assert commands_shown(page) == found


LINK = re.compile(r"\[(?:[^\]]|\][^(])*\]\(([^)\s]+)\)")


def anchors(page: str) -> set[str]:
    """What the headings of a page are linked by, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path) -> list[str]:
    """The links of a page to files, or headings in them, that aren't there."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue  # elsewhere in the world
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        text = target.read_text(encoding="utf-8") if anchor and target.exists() else ""
        if not target.exists() or (anchor and anchor not in anchors(text)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PATH_PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file that is there, and to one of its headings."""
    assert broken(page) == []


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    """The check above can fail."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c: d\n[x](#a-b-c-d) [x](#other) [x](gone.md) [x](page.md#a-b-c-d) [`x`](https://x)\n"
    )
    assert broken(page) == ["#other", "gone.md"]


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
