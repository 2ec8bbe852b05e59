"""The three tasks across the wire: by reference where both sides have the same source.

::

    functions ─ used_by ─► {module: source} ─ the server's hashes ─► what it lacks
        └─ one dump of all three (so they go on sharing their globals) ─┐
                  head + sources it lacks + fingerprints ──────────────────┴─► payload

Functions of a `__main__`, lambdas and closures go by value in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bgpy.codec import modules, payload
from bgpy.codec.loaded import ModuleSource, version
from bgpy.codec.payload import decode, joined
from bgpy.memory import Payload

TaskFunctions = tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]


def encode_tasks(
    functions: TaskFunctions,
    sources: Mapping[str, ModuleSource],
    hashes: Mapping[str, str | None],
    parts: Mapping[str, str],
) -> Payload:
    """A payload of the three `functions` with those `sources` that the server lacks.

    `sources` is `modules.used_by(functions)`, `hashes` the server's answer for them, `parts`
    what `fingerprint.of_tasks` says of the functions. Raises `EncodeError` naming what can't
    be sent.
    """
    lacking = [source for name, source in sources.items() if hashes.get(name) != version(source)]
    named = dict(zip(("init_task", "exec_task", "exit_task"), functions, strict=True))
    head, buffers, code = payload.encode_tasks(named, "tasks")
    body = (joined(head), [bytearray(each) for each in buffers], code)
    # As plain tuples: what they are called is a matter of each side.
    known = (dict(parts), list(sources))
    return payload.encode(([tuple(each) for each in lacking], known, *body), "tasks")


def decode_tasks(packed: Payload, catalogue: modules.Catalogue) -> TaskFunctions:
    """Install the sources that came along and rebuild the three functions.

    Raises as `decode`, before any bytecode of another Python version is loaded.
    """
    lacking, (parts, used), head, buffers, code = decode(*packed, "tasks")
    catalogue.install([ModuleSource(*each) for each in lacking])
    named = decode(head, [memoryview(each) for each in buffers], code, "tasks")
    catalogue.runs(parts, used)
    return named["init_task"], named["exec_task"], named["exit_task"]
