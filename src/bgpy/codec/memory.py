"""Where large buffers are received."""

from __future__ import annotations

import mmap
import sys

LARGE = 2**22
"""From this size on, in bytes, a buffer gets pages of its own (docs/design/0007)."""


def allocate(size: int) -> memoryview:
    """Writable memory of `size` bytes, given back to the system when its last user is gone.

    Fresh memory costs a page fault every 4 KiB, so large buffers ask for huge pages.
    """
    if size < LARGE:
        return memoryview(bytearray(size))
    if sys.platform == "win32":
        return memoryview(mmap.mmap(-1, size))
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # a kernel without huge pages: the memory works all the same
    return memoryview(memory)
