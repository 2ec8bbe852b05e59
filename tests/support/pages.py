"""The pages of README and docs, and how to do what they show.

On a page,

- a ``python`` block that is followed at once by a ``text`` block is a whole program and its
  output;
- a block that begins with a comment which is a file's name (``# tasks.py``) is that file;
- a ``console`` block has commands (``$ python use.py``) and what they print;
- ``python cell`` blocks are the cells of one notebook, each with its output where a ``text``
  block follows.

``...`` in an output stands for anything. ``24321`` is a port that the reader chooses. Other blocks
are pieces, for reading only. ``<!-- needs: fastapi -->`` before a block names what has to be
installed for it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PORT = "24321"

FENCE = re.compile(
    r"^(?:<!-- needs: (?P<needs>[\w, ]+) -->\n+)?"
    r"```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

FILE = re.compile(r"# ([\w-]+\.py)\n")


class Block(NamedTuple):
    """One fenced block of a page."""

    line: int
    language: str
    info: str
    text: str
    needs: tuple[str, ...]
    is_followed: bool
    """Whether nothing stands between it and the next block."""


class Step(NamedTuple):
    """One thing that a page shows, to be done in the order of the page."""

    line: int
    kind: str
    """``file``, ``program``, ``command`` or ``cells``."""
    what: str
    """The file's name, the command, or the text of the program."""
    text: str
    """The file's text, or the output that is shown."""
    needs: tuple[str, ...] = ()


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page in their order."""
    return [
        Block(
            page.count("\n", 0, match.start("language")) + 1,
            match["language"],
            match["info"].strip(),
            match["text"],
            tuple(re.findall(r"\w+", match["needs"] or "")),
            page[match.end() :].lstrip().startswith("```"),
        )
        for match in FENCE.finditer(page)
    ]


def steps(page: str) -> list[Step]:
    """What a page shows to be done."""
    found: list[Step] = []
    cells: list[tuple[str, str]] = []
    in_order = blocks(page)
    for block, after in zip_longest(in_order, in_order[1:]):
        shown = block.is_followed and after is not None and after.language == "text"
        named = FILE.match(block.text) if block.language == "python" else None
        if block.language == "console":
            found += [
                Step(block.line, "command", command, output, block.needs)
                for command, output in commands(block.text)
            ]
        elif block.language == "python" and block.info == "cell":
            cells.append((block.text, after.text if shown else ""))
        elif named:
            found.append(Step(block.line, "file", named[1], block.text, block.needs))
        elif block.language == "python" and shown:
            found.append(Step(block.line, "program", block.text, after.text, block.needs))
    if cells:
        text = "".join(f"{MARK}\n{output}" for _, output in cells)
        found.append(Step(0, "cells", notebook([cell for cell, _ in cells]), text))
    return found


def commands(session: str) -> Iterator[tuple[str, str]]:
    """The commands of a session, each with its output."""
    for part in session.split("\n$ " if session.startswith("$ ") else "$ "):
        command, _, output = part.removeprefix("$ ").partition("\n")
        yield command, output if not output or output.endswith("\n") else output + "\n"


MARK = "-- next cell --"


def notebook(cells: list[str]) -> str:
    """A program that runs cells as a kernel does: each in ``__main__``, from no file."""
    return f"""\
import __main__, linecache
__main__.__dict__.pop("__file__", None)
for number, cell in enumerate({cells!r}, 1):
    print({MARK!r}, flush=True)
    name = f"<ipython-input-{{number}}>"
    linecache.cache[name] = len(cell), None, cell.splitlines(True), name
    exec(compile(cell, name, "exec"), __main__.__dict__)
"""


def do(step: Step, folder: Path, port: int) -> None:
    """Do what a step shows, and compare what comes of it."""
    what = step.what.replace(PORT, str(port))
    text = step.text.replace(PORT, str(port))
    if step.kind == "file":
        (folder / what).write_text(text, encoding="utf-8")
    elif step.kind == "command":
        printed, _ = run(command_line(what), folder)
        assert fits(text, printed), f"line {step.line}: $ {what}\n{printed}"
    else:
        script = folder / "example.py"
        script.write_text(what, encoding="utf-8")
        printed, code = run(command_line("python example.py"), folder)
        assert code == 0, f"line {step.line}:\n{printed}"
        assert fits(text, printed), f"line {step.line}:\n{printed}"


def command_line(command: str) -> list[str]:
    """What runs a command of a page in this environment."""
    program, *arguments = shlex.split(command, comments=True)
    python = [sys.executable, "-X", "utf8"]
    return {
        "python": [*python, "-W", "error"],
        "bgpy": [*python, "-m", "bgpy"],
        "pytest": [*python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"],
    }[program] + arguments


def run(line: list[str], folder: Path) -> tuple[str, int]:
    """What a command prints, errors included, and its exit code."""
    done = subprocess.run(
        line,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    return done.stdout, done.returncode


def fits(shown: str, printed: str) -> bool:
    """Whether an output is the one shown, where ``...`` is anything."""
    pattern = re.escape(shown).replace(r"\.\.\.", ".*?")
    return re.fullmatch(pattern, printed, re.DOTALL) is not None
