"""The floors of the house: imports go down only.

Every import statement counts: at the top, inside a function, under ``TYPE_CHECKING``.
What stands directly under bgpy, a package or a module, is a part of the house, and
may import parts on lower floors, itself, and the single modules of its own floor: no
package beside it, none above it, and never in a circle, not even within its own walls.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "bgpy"

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
ROW = re.compile(r"^\| (\d) \| ([^|]+) \|", re.MULTILINE)


def floors(page: str) -> dict[str, int]:
    """The floor of each part, as the table of floors says; the package itself is ``""``."""
    return {
        "" if name == "__init__" else name: int(floor)
        for floor, names in ROW.findall(page)
        for name in re.findall(r"`(\w+)/?`", names)
    }


HEIGHTS = floors(PAGE.read_text(encoding="utf-8"))


def part(module: str) -> str:
    """The part of the house that `module` belongs to: ``bgpy.wire.frames`` to ``wire``."""
    return f"{module}.".split(".")[1]


def modules(source: Path) -> dict[str, Path]:
    """The modules under `source` by their dotted names."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = [source.name, *path.relative_to(source).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(module: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and name of each module of the house that `module` imports, wherever it does."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    house = package.partition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names = [f"{base}.{alias.name}" for alias in node.names]
            # `from bgpy import wire` means the package even if the name is of no module.
            targets = [
                name if name in known or (base == house and part(name) in HEIGHTS) else base
                for name in names
            ]
        else:
            continue
        yield from ((node.lineno, name) for name in targets if f"{name}.".startswith(f"{house}."))


def circles(graph: dict[str, set[str]]) -> Iterator[str]:
    """Each module that reaches itself through what it imports."""
    for start in graph:
        seen: set[str] = set()
        ahead = list(graph[start])
        while ahead:
            at = ahead.pop()
            if at not in seen:
                seen.add(at)
                ahead.extend(graph.get(at, ()))
        if start in seen:
            yield start


def violations(source: Path) -> list[str]:
    """Every breach of the floors under `source`, a line each; empty where they hold."""
    known = modules(source)
    graph: dict[str, set[str]] = {module: set() for module in known}
    found = []
    for module, path in known.items():
        if part(module) not in HEIGHTS:
            found.append(f"{module} stands on no floor")
            continue
        for line, target in imports(module, path, known):
            graph[module].add(target)
            if part(target) not in HEIGHTS:
                found.append(f"{module}:{line} imports {target}, which stands on no floor")
            elif HEIGHTS[part(target)] > HEIGHTS[part(module)]:
                found.append(f"{module}:{line} imports {target}, which stands above it")
            elif (
                HEIGHTS[part(target)] == HEIGHTS[part(module)]
                and part(target) != part(module)
                and (source / part(target)).is_dir()
            ):
                found.append(f"{module}:{line} imports {target}, which stands beside it")
    return found + [f"{module} imports itself in a circle" for module in circles(graph)]


def build(folder: Path, files: dict[str, str]) -> Path:
    """Write a small house with these files and give its folder."""
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / "bgpy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "bgpy"


def test_house_keeps_its_floors_when_every_import_counts() -> None:
    """No module of bgpy imports upwards, sideways or in a circle."""
    assert violations(SOURCE) == []


def test_house_has_every_part_when_the_table_names_it() -> None:
    """The table of floors and the source name the same parts."""
    assert {part(module) for module in modules(SOURCE)} == HEIGHTS.keys()


def test_floors_are_read_from_the_page() -> None:
    """Rows of the table, each name without its slash, and nothing of the text around it."""
    page = "`no` | 1 |\n| floor | `x` |\n|---|---|\n| 0 | `a`, `b/` | `c` |\n| 1 | `__init__` | |\n"
    assert floors(page) == {"a": 0, "b": 0, "": 1}


def test_violations_finds_nothing_when_imports_go_down(tmp_path: Path) -> None:
    """Imports of lower floors, of the own package and of foreign packages are allowed."""
    house = build(
        tmp_path,
        {
            "errors.py": "import sys",
            "wire/__init__.py": "from bgpy.wire import frames",
            "wire/frames.py": "from bgpy import errors\nimport bgpyish",
            "wire/messages.py": "from .frames import Frame",
            "address.py": "from .errors import BgpyError",
            "calling/__init__.py": "def late():\n    import bgpy.wire.frames",
            "client.py": "from bgpy.calling import late",
        },
    )
    assert violations(house) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"wire/frames.py": "from bgpy.calling.call import Call"},
            ["bgpy.wire.frames:1 imports bgpy.calling.call, which stands above it"],
        ),
        (
            {"wire/frames.py": "from bgpy import calling"},
            ["bgpy.wire.frames:1 imports bgpy.calling, which stands above it"],
        ),
        (
            {"wire/frames.py": "from ..calling import call"},
            ["bgpy.wire.frames:1 imports bgpy.calling, which stands above it"],
        ),
        (
            {"wire/frames.py": "def late():\n    import bgpy.cli"},
            ["bgpy.wire.frames:2 imports bgpy.cli, which stands above it"],
        ),
        (
            {
                "wire/frames.py": "from typing import TYPE_CHECKING\n"
                "if TYPE_CHECKING:\n    from bgpy.api.client import Client"
            },
            ["bgpy.wire.frames:3 imports bgpy.api.client, which stands above it"],
        ),
        (
            {"wire/frames.py": "import bgpy.codec", "codec/__init__.py": ""},
            ["bgpy.wire.frames:1 imports bgpy.codec, which stands beside it"],
        ),
        (
            {"state.py": "from .codec import encode", "codec/__init__.py": ""},
            ["bgpy.state:1 imports bgpy.codec, which stands beside it"],
        ),
        (
            {"config.py": "from bgpy.system import files", "system/files.py": ""},
            ["bgpy.config:1 imports bgpy.system.files, which stands beside it"],
        ),
        (
            {"cli/__init__.py": "from bgpy import Client"},
            ["bgpy.cli:1 imports bgpy, which stands above it"],
        ),
        (
            {"cli/__init__.py": "import bgpy"},
            ["bgpy.cli:1 imports bgpy, which stands above it"],
        ),
        (
            {"cli/__init__.py": "from bgpy.core.token import token_create"},
            ["bgpy.cli:1 imports bgpy.core.token, which stands above it"],
        ),
        (
            {"attic.py": "", "cli/__init__.py": "import bgpy.attic"},
            [
                "bgpy.attic stands on no floor",
                "bgpy.cli:1 imports bgpy.attic, which stands on no floor",
            ],
        ),
        (
            {
                "wire/a.py": "from bgpy.wire import b",
                "wire/b.py": "def late():\n    from .c import name",
                "wire/c.py": "import bgpy.wire.a",
            },
            [
                "bgpy.wire.a imports itself in a circle",
                "bgpy.wire.b imports itself in a circle",
                "bgpy.wire.c imports itself in a circle",
            ],
        ),
        (
            {"wire/__init__.py": "from .a import name", "wire/a.py": "from . import other"},
            [
                "bgpy.wire imports itself in a circle",
                "bgpy.wire.a imports itself in a circle",
            ],
        ),
    ],
)
def test_violations_names_each_breach_when_a_house_has_one(
    tmp_path: Path, files: dict[str, str], expected: list[str]
) -> None:
    """The check above can fail: every kind of breach is found, with its place."""
    assert violations(build(tmp_path, files)) == expected
