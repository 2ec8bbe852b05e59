"""Payloads with names for their parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from bgpy.codec import functions, payload
from bgpy.codec.loaded import ModuleSource
from bgpy.memory import Head


class Packed(NamedTuple):
    """A `bgpy.memory.Payload`."""

    head: Head
    buffers: Any
    code: bool


def encode(obj: Any, what: str) -> Packed:
    """As `payload.encode`."""
    return Packed(*payload.encode(obj, what))


def encode_tasks(
    tasks: functions.TaskFunctions,
    sources: Mapping[str, ModuleSource],
    hashes: Mapping[str, str | None],
) -> Packed:
    """As `functions.encode_tasks`."""
    return Packed(*functions.encode_tasks(tasks, sources, hashes, {}))
