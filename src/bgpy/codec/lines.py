"""A code object there and back, with the lines of its file that tracebacks and `inspect` show.

::

    code  ─ as Python caches it ─┐
    lines of its file, as text ──┴─► located ─► the code, and its lines in `linecache`

Lines go to `linecache` under the name of their file or cell. Where that name has other lines
here, they go under ``name (2)``, and the code is renamed. Whole files come with the tasks of a
server, the lines of each function alone with calls.

What is found out of a code object on its way out is kept as long as it lives: it never changes.
Its lines are looked up anew each time, since `linecache` may have read its file again.

Pickles call `located` and `rebuilt` by their names, so those are part of what both sides agree
on. Decoding happens in the task thread, or in whichever thread wants a value; `_lock` protects
`_texts`, is held for dictionary look-ups and the reading of a file that `linecache` doesn't
know, and is reentrant, since the collector or a handler may decode meanwhile. A forked child has
a new one: no thread is there that would let the old one go.
"""

from __future__ import annotations

import linecache
import marshal
import sys
from collections import OrderedDict
from types import CodeType
from typing import Any, NamedTuple

from bgpy.codec.arrival import is_adopted
from bgpy.codec.identities import Identities
from bgpy.forks import OwnLock

LONGEST_TEXT = 2**20
"""Characters of a file that travels whole; of a longer one the functions' own lines do."""

MOST_TEXTS = 1000
"""Files and cells of which lines are kept; the tasks' own come on top."""

Told = tuple[str, int, str | list[str], bool]
"""Lines as they travel: the name of their file, where they begin (0 is its first line), the lines
in one text if Python cuts it there again, whether they are all of the file."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
_SLICE = slice if sys.version_info >= (3, 14) else None  # which cached code holds from there on

_lock = OwnLock()

_texts: OrderedDict[str, bool] = OrderedDict()  # what is in linecache from here: is it whole?


# The way out


class CodeLines(NamedTuple):
    """What there is to say of a code object."""

    file: str
    start: int
    end: int
    cached: bytes | None
    """As Python would cache it; None where that can't hold its constants."""


_known: Identities[CodeLines] = Identities()
_told: Identities[tuple[list[str], Told | None]] = Identities()
"""By code object, the lines of its file as they were last, and its own among them."""


def known_of(code: CodeType) -> CodeLines:
    """File, first and last line of `code`, and its bytes."""
    known = _known.get(code)
    if known is None:
        cached = marshal.dumps(code) if _is_plain(code) else None
        known = CodeLines(code.co_filename, code.co_firstlineno - 1, _last_line(code), cached)
        _known.put(code, known)
    return known


def lines_of(code: CodeType, whole: dict[str, Told] | None) -> Told | None:
    """The lines that are to be seen of `code`, if `linecache` has them.

    `whole` holds the files that go whole in the same pickle, by name; None if none does.
    """
    file, start, end, _ = known_of(code)
    lines = linecache.getlines(file)
    if start >= len(lines):
        return None
    if whole is not None and (file in whole or sum(map(len, lines)) <= LONGEST_TEXT):
        return whole.setdefault(file, (file, 0, _text(lines), True))
    told = _told.get(code)
    if told is None or told[0] is not lines:
        own = lines[start:end]
        fits = sum(map(len, own)) <= LONGEST_TEXT
        told = lines, (file, start, _text(own), False) if fits else None
        _told.put(code, told)
    return told[1]


def _text(lines: list[str]) -> str | list[str]:
    text = "".join(lines)
    return text if text.splitlines(keepends=True) == lines else lines


def _last_line(code: CodeType) -> int:
    """The last line of a code object, its first being 1."""
    last = max((end or 0 for _, end, _, _ in code.co_positions()), default=0)
    inner = [_last_line(each) for each in code.co_consts if isinstance(each, CodeType)]
    return max(code.co_firstlineno, last, *inner, 0)


def _is_plain(value: Any) -> bool:
    """Whether Python's cache of code holds a constant as it is; compilers make no others."""
    kind = type(value)
    if kind is CodeType:
        return all(map(_is_plain, value.co_consts))
    if kind is tuple or kind is frozenset:
        return all(map(_is_plain, value))
    if kind is _SLICE:
        return all(map(_is_plain, (value.start, value.stop, value.step)))
    return any(kind is each for each in _PLAIN)


# The way in: pickles call these by their names


def located(cached: bytes, told: Told | None) -> CodeType:
    """The code object of these bytes, and its lines where they are looked for."""
    code: CodeType = marshal.loads(cached)
    return code if told is None else _shown(code, told)


def rebuilt(parts: tuple[Any, ...], file: str, told: Told | None) -> CodeType:
    """The same of a code object that comes in parts, which are made without their file."""
    code = CodeType(*parts).replace(co_filename=file)
    return code if told is None else _shown(code, told)


def _shown(code: CodeType, told: Told) -> CodeType:
    file, start, text, whole = told
    lines = text if isinstance(text, list) else text.splitlines(keepends=True)
    shown = show(file, start, lines, whole)
    return code if shown == file else _renamed(code, file, shown)


def _renamed(code: CodeType, file: str, shown: str) -> CodeType:
    if code.co_filename != file:
        return code
    consts = tuple(
        _renamed(each, file, shown) if isinstance(each, CodeType) else each
        for each in code.co_consts
    )
    return code.replace(co_filename=shown, co_consts=consts)


def show(file: str, start: int, lines: list[str], whole: bool) -> str:
    """Have `linecache` show `lines` of `file` from `start` on (0 is the first); gives its name.

    `whole` says that they are all of a file of the tasks, whose name it is from now on.
    """
    with _lock.here:
        if whole and is_adopted():
            _texts[file] = True
            _enter(file, lines)
            return file
        return _shown_as(file, start, lines)


def _shown_as(file: str, start: int, lines: list[str]) -> str:
    shown, count = file, 1
    while not _fits(shown, start, lines):
        count += 1
        shown = f"{file} ({count})"
    return shown


def _fits(shown: str, start: int, lines: list[str]) -> bool:
    """Whether `lines` stand, or now stand, at their place under the name `shown`."""
    is_from_here = shown in _texts
    if not is_from_here:
        linecache.checkcache(shown)
    known = linecache.getlines(shown)
    end = start + len(lines)
    if known[start:end] == lines:
        if not is_from_here and is_adopted():
            # A file that is here, as it was when they came: what it becomes isn't what runs.
            _keep(shown, known)
        return True
    if known and _texts.get(shown, True):
        return False  # a file that is here, or one whose lines are all known
    known = [*known, *["\n"] * (end - len(known))]
    there = known[start:end]
    if any(old not in ("\n", new) for old, new in zip(there, lines, strict=True)):
        return False
    known[start:end] = lines
    _keep(shown, known)
    return True


def _keep(shown: str, lines: list[str]) -> None:
    """Show these lines under that name; those of the oldest names that came with calls go."""
    _texts[shown] = False
    _texts.move_to_end(shown)
    _enter(shown, lines)
    partial = [name for name, is_whole in _texts.items() if not is_whole]
    for name in partial[:-MOST_TEXTS]:
        del _texts[name]
        linecache.cache.pop(name, None)


def _enter(shown: str, lines: list[str]) -> None:
    # Without a time the entry is no file's, so that no check of the cache drops it.
    linecache.cache[shown] = (sum(map(len, lines)), None, lines, shown)
