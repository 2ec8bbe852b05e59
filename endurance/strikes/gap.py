"""The one place of CPython 3.14 and newer where an exception leaves a lock taken for ever.

There a ``with`` calls ``__enter__`` by an ordinary instruction, which looks for signals when the
lock is taken already, and what protects the block begins behind it. No library can close that
(docs/pythons.md). Up to 3.13 entering is one instruction that looks for none; 3.15 looks there
only while a trace function sees the instructions. What strikes at random spares that place.
"""

from __future__ import annotations

import dis
import sys
from types import FrameType

HAS_GAP = sys.version_info >= (3, 14)


def is_entering(frame: FrameType) -> bool:
    """Whether the instruction that `frame` is at is the gap; False where Python has none."""
    if not HAS_GAP or frame.f_lasti < 2:
        return False
    code = frame.f_code.co_code
    before, now = code[frame.f_lasti - 2], code[frame.f_lasti]
    return now == dis.opmap["CALL"] and before == dis.opmap["LOAD_SPECIAL"]
