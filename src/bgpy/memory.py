"""Memory on its way between user and socket: what it is called, and where it is received."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Sequence

Piece = bytes | bytearray | memoryview
"""Bytes to be sent."""
Head = bytes | memoryview
"""A pickle without its large buffers."""
HeadParts = tuple[Piece, ...]
"""A head that lies in several places and is sent as if it were one."""
Buffers = Sequence[memoryview]
"""Out-of-band buffers (pickle protocol 5), flat."""
Payload = tuple[Head | HeadParts, Buffers, bool]
"""Head, buffers, and whether there is bytecode in them."""
Encoded = bytes | Payload
"""A payload; bytes alone are a small plain pickle that names neither functions nor classes."""
Within = Callable[[Payload, int], Payload]
"""Gives a payload that rebuilds the same and has at most that many buffers."""
Allocate = Callable[[int], memoryview | None]
"""Gives that many (> 0) bytes of writable memory, as a flat memoryview; None if it may not."""

LARGE = 2**22
"""From this size on, in bytes, a buffer gets pages of its own (docs/design/0007)."""


def whole(packed: Encoded) -> Payload:
    """`packed` with all that a payload has."""
    return (packed, (), False) if isinstance(packed, bytes) else packed


def allocate(size: int) -> memoryview:
    """Writable memory of `size` bytes, given back to the system when its last user is gone.

    Fresh memory costs a page fault every 4 KiB, so large buffers ask for huge pages.
    """
    return memoryview(bytearray(size)) if size < LARGE else _mapped(size, huge=True)


def allocate_lazily(size: int) -> memoryview:
    """As `allocate`, of memory that takes no more than is written to it, in small pages."""
    return _mapped(size, huge=False)


def _mapped(size: int, *, huge: bool) -> memoryview:
    if sys.platform == "win32":
        return memoryview(mmap.mmap(-1, size))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        try:
            memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
        except OSError:
            pass  # a kernel without huge pages: the memory works all the same
    return memoryview(memory)
