"""``python .ci/reference.py``: write docs/reference.md from the docstrings of public names.

A page for people who use bgpy: what stands in it is what `help` tells. Sources are read and
not run, since the documentation of attributes, a text below an assignment, is gone at
run time; only the command line is asked for its commands.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

import bgpy
from bgpy import config
from bgpy.cli.commands import program

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference.md"

INTRODUCTION = """\
# Reference

Every public name, with what its docstring says: `help(bgpy.Client)` shows the same text. The
[tutorial](tutorial.md) and the [how-tos](README.md#how-to) show the names at work.

Times are in seconds and sizes in bytes. Names are imported from `bgpy` where nothing else is said,
those under [testing](#testing) from `bgpy.testing`.
"""

# Each section: the name of its module where that isn't `bgpy`, and its names in their order.
SECTIONS = {
    "Servers": ("bgpy", ["Server", "Handle", "Limits"]),
    "Clients": ("bgpy", ["Client", "Timeout", "Args"]),
    "Tasks": (
        "bgpy",
        ["InitTask", "ExecTask", "ExitTask", "ClientSocket", "Deferred", "respond"],
    ),
    "Tokens": ("bgpy", ["token_create"]),
    "Errors": ("bgpy", ["BgpyError", "Advice", "Progress"]),
    "Testing": ("bgpy.testing", ["RecordingSocket", "running_server", "Served", "bgpy_server"]),
}

# Public names that bgpy doesn't export, and where they are defined.
HOMES = {
    "Timeout": "bgpy.api.client",
    "Args": "bgpy.tasks.protocols",
    "Advice": "bgpy.errors",
    "Progress": "bgpy.errors",
    "RecordingSocket": "bgpy.testing.recording",
    "running_server": "bgpy.testing.running",
    "Served": "bgpy.testing.running",
    "bgpy_server": "bgpy.testing.fixtures",
}

# What the server's own code asks a client socket, and how 0.3.1 spelled `respond`.
INTERNAL = {
    "Handle": {"__init__"},
    "ClientSocket": {"__init__", "call", "claim", "deferred", "drop", "ended", "send"},
    "Deferred": {"__init__"},
    "Limits": {"from_environment"},
    "CallTimeout": {"at"},
    "ServerGone": {"at"},
    "RemoteError": {"of"},
}

LONGEST = 88
"""Characters of a signature in one line."""


Linked = Callable[[str], str]
"""Makes Markdown of a docstring, with links to the entries of the page."""


class Source(NamedTuple):
    """What a module defines."""

    text: str
    found: dict[str, ast.stmt]
    """Its functions, classes and assigned names."""
    docs: dict[str, str]
    """The texts below assignments."""


def read(module: str) -> Source:
    """The source of a module of bgpy."""
    path = ROOT / "src" / (module.replace(".", "/") + ".py")
    text = path.read_text(encoding="utf-8")
    return Source(text, *_definitions(ast.parse(text).body))


def _definitions(body: list[ast.stmt]) -> tuple[dict[str, ast.stmt], dict[str, str]]:
    found: dict[str, ast.stmt] = {}
    docs: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node  # of an overloaded function the last, which runs
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                found[target.id] = node
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    docs[target.id] = inspect.cleandoc(str(after.value.value))
    return found, docs


def home(name: str) -> tuple[str, str]:
    """The module that defines a public name, and what it is called there."""
    if name in HOMES:
        return HOMES[name], name
    return bgpy._ELSEWHERE.get(name, ("bgpy.errors", name))


def entries() -> Iterator[str]:
    """The heading of each entry, such as ``Client`` and ``Client.call``."""
    for match in re.finditer(r"^#{3,4} ([\w.]+)$", _body(lambda text: text), re.MULTILINE):
        yield match[1]


def page() -> str:
    """The whole page."""
    known = set(entries())

    def linked(text: str) -> str:
        return _markdown(text, known)

    return INTRODUCTION + _body(linked) + _commands(linked)


def _body(linked: Linked) -> str:
    parts = []
    for section, (module, names) in SECTIONS.items():
        parts.append(f"\n## {section}\n")
        if section == "Errors":
            text = ast.get_docstring(ast.parse(read("bgpy.errors").text)) or ""
            parts.append(f"\n{linked(text)}\n")
            names = [*names, *_errors()]
        elif module != "bgpy":
            package = ROOT / "src" / module.replace(".", "/") / "__init__.py"
            text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
            parts.append(f"\n{linked(text)}\n")
        parts += [_entry(name, linked) for name in names]
    return "".join(parts)


def _errors() -> list[str]:
    """The errors below `BgpyError`, in the order of the tree."""
    found = read("bgpy.errors").found
    return [
        name
        for name, node in found.items()
        if isinstance(node, ast.ClassDef) and name in bgpy.__all__ and name != "BgpyError"
    ]


def _entry(name: str, linked: Linked) -> str:
    module, called = home(name)
    source = read(module)
    node = source.found[called]
    if isinstance(node, ast.FunctionDef):
        return f"\n### {name}\n\n{_code(_signature(name, node, source))}" + _text(node, linked)
    if isinstance(node, ast.ClassDef):
        return "".join(_class(name, node, source, linked))
    assert isinstance(node, ast.Assign | ast.AnnAssign)
    assert node.value is not None
    value = _source(node.value)
    text = f"\n### {name}\n\n{_code(f'{name} = {value}')}\n{linked(source.docs[called])}\n"
    return text if name not in HOMES else f"{text}\nDefined in `{module}`.\n"


def _class(name: str, node: ast.ClassDef, source: Source, linked: Linked) -> Iterator[str]:
    found, docs = _definitions(node.body)
    hidden = INTERNAL.get(name, set())
    yield f"\n### {name}\n"
    if HOMES.get(name) == "bgpy.errors":
        yield "\nDefined in `bgpy.errors`.\n"
    bases = [_source(base) for base in node.bases]
    init = found.get("__init__")
    if any(base.startswith("Protocol[") for base in bases):
        call = found["__call__"]
        assert isinstance(call, ast.FunctionDef)
        yield "\n" + _code(_signature(name, call, source))
    elif isinstance(init, ast.FunctionDef) and "__init__" not in hidden:
        yield "\n" + _code(_signature(name, init, source).removesuffix(" -> None"))
    elif any(base.endswith(("Error", "Exception")) or base in bgpy.__all__ for base in bases):
        yield "\n" + _code(f"class {name}({', '.join(bases)})")
    yield _text(node, linked)
    rows = [
        f"| `{each}` | {_kind(member, source)} | {linked(docs[each]).replace(chr(10), ' ')} |\n"
        for each, member in found.items()
        if each in docs and each not in hidden
    ]
    if rows:
        yield "\n| attribute | | meaning |\n|---|---|---|\n" + "".join(rows)
    for each, member in found.items():
        if isinstance(member, ast.FunctionDef) and not each.startswith("_") and each not in hidden:
            yield f"\n#### {name}.{each}\n\n"
            if any("property" in _source(one) for one in member.decorator_list):
                assert member.returns is not None
                yield _code(f"{each}: {_source(member.returns)}")
            else:
                yield _code(_signature(each, member, source))
            yield _text(member, linked)


def _kind(member: ast.stmt, source: Source) -> str:
    """Type and default of an attribute."""
    if not isinstance(member, ast.AnnAssign):
        return ""
    kind = _source(member.annotation)
    if member.value is None:
        return f"`{kind}`"
    value = _source(member.value)
    return f"`{kind} = {value}`".replace("|", "\\|")


def _signature(name: str, node: ast.FunctionDef, source: Source) -> str:
    """How it is called, with types; aliases that nobody documents are written out."""
    decorators = {_source(each) for each in node.decorator_list}
    result = "None" if node.returns is None else _source(node.returns)
    if "pytest.fixture" in decorators:
        return f"{name}: {result.removeprefix('Iterator[').removesuffix(']')}"
    if "contextmanager" in decorators:
        result = result.replace("Iterator", "AbstractContextManager")
    shown = [each for each in _parameters(node.args, source) if each != "self"]
    line = f"{name}({', '.join(shown)}) -> {result}"
    if len(line) <= LONGEST:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in shown) + f") -> {result}"


def _parameters(arguments: ast.arguments, source: Source) -> Iterator[str]:
    plain = [*arguments.posonlyargs, *arguments.args]
    first = len(plain) - len(arguments.defaults)
    for index, each in enumerate(plain):
        default = arguments.defaults[index - first] if index >= first else None
        yield _parameter(each, default, source)
        if arguments.posonlyargs and each is arguments.posonlyargs[-1]:
            yield "/"
    if arguments.vararg:
        yield "*" + _parameter(arguments.vararg, None, source)
    elif arguments.kwonlyargs:
        yield "*"
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(each, default, source)
    if arguments.kwarg:
        yield "**" + _parameter(arguments.kwarg, None, source)


def _source(node: ast.AST) -> str:
    """As `ast.unparse`, with the quotes that the house uses."""
    text = ast.unparse(node)
    quoted = text.replace("'", '"')
    with suppress(SyntaxError):
        if ast.dump(ast.parse(quoted)) == ast.dump(ast.parse(text)):
            return quoted
    return text


def _parameter(parameter: ast.arg, default: ast.expr | None, source: Source) -> str:
    kind = parameter.annotation
    text = parameter.arg
    if kind is not None:
        text += f": {_type(kind, source)}"
    if default is None:
        return text
    # A default that has a name is one of the house's settings.
    value = getattr(config, default.id) if isinstance(default, ast.Name) else None
    return f"{text} = {_source(default) if value is None else _source(ast.Constant(value))}"


def _type(annotation: ast.expr, source: Source) -> str:
    shown = []
    for part in _source(annotation).split(" | "):
        alias = source.found.get(part)
        undocumented = isinstance(alias, ast.Assign) and part not in source.docs
        variable = isinstance(alias, ast.Assign) and "TypeVar" in _source(alias.value)
        if undocumented and not variable:
            assert isinstance(alias, ast.Assign)
            part = _source(alias.value)
        shown.append(part)
    return " | ".join(shown)


def _text(node: ast.FunctionDef | ast.ClassDef, linked: Linked) -> str:
    text = ast.get_docstring(node)
    return "" if text is None else f"\n{linked(text)}\n"


def _code(text: str) -> str:
    """A block of code; where it is whole code, `ruff format` has no wish left."""
    return f"```python\n{text}\n```\n"


def _markdown(text: str, known: set[str]) -> str:
    """Markdown of a docstring: examples fenced, names of the page linked."""
    text = re.sub(
        r"::\n\n((?:    .*\n?|\n)+)",
        lambda found: ":\n\n" + _code(textwrap.dedent(found[1]).strip("\n")) + "\n",
        text,
    ).rstrip()
    text = re.sub(r"^:\n\n", "", text, flags=re.MULTILINE)
    parts = re.split(r"(```.*?```|``[^`]+``)", text, flags=re.DOTALL)
    for index, part in enumerate(parts):
        if part.startswith("```"):
            continue
        if part.startswith("``"):
            parts[index] = part[1:-1]
        else:
            parts[index] = re.sub(
                r"`([\w.]+)`",
                lambda found: (
                    f"[`{found[1]}`](#{found[1].lower().replace('.', '')})"
                    if found[1] in known
                    else found[0]
                ),
                part,
            )
    return "".join(parts)


def _commands(linked: Linked) -> str:
    parts = ["\n## Command line\n", f"\n{linked(inspect.cleandoc(program.help or ''))}\n"]
    for path, command in _walk("bgpy", program):
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        shown = " ".join([path, *(_argument(each) for each in arguments)])
        parts.append(f"\n### {path}\n\n```text\n{shown}\n```\n")
        parts.append(f"\n{linked(inspect.cleandoc(command.help or ''))}\n")
        rows = [
            f"| {', '.join(f'`{name}`' for name in each.opts)} | {each.help} |\n"
            for each in command.params
            if isinstance(each, click.Option)
        ]
        if rows:
            parts.append("\n| option | meaning |\n|---|---|\n" + "".join(rows))
    return "".join(parts)


def _argument(argument: click.Argument) -> str:
    name = (argument.metavar or argument.name or "").upper().strip("[]")
    return name if argument.required else f"[{name}]"


def _walk(path: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _walk(f"{path} {name}", command)
        else:
            yield f"{path} {name}", command


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
