"""Where large buffers are received."""

from __future__ import annotations

import gc
import mmap
import sys

import pytest

from bgpy import memory
from bgpy.memory import LARGE, allocate, allocate_lazily


@pytest.mark.parametrize("size", [1, 4096, LARGE - 1, LARGE, LARGE + 1, 5 * LARGE])
def test_allocate_gives_writable_memory_of_that_size(size: int) -> None:
    """Flat bytes, all zero, writable to the end."""
    view = allocate(size)
    assert (view.nbytes, view.format, view.ndim, view.readonly) == (size, "B", 1, False)
    assert view[0] == view[-1] == 0
    view[-1] = 255
    assert view[-1] == 255


def test_allocate_takes_pages_of_its_own_when_the_buffer_is_large() -> None:
    """They go back to the system when the last view is gone, also a part of it."""
    assert isinstance(allocate(LARGE).obj, mmap.mmap)
    assert isinstance(allocate(LARGE - 1).obj, bytearray)
    part = allocate(LARGE)[10:20]
    gc.collect()
    part[:] = b"0123456789"
    assert bytes(part) == b"0123456789"


def test_allocate_does_without_huge_pages_when_the_kernel_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The advice is refused there; the memory works all the same."""

    class Refuses(mmap.mmap):
        def madvise(self, *advice: int) -> None:
            raise OSError("Invalid argument")

    monkeypatch.setattr(memory.mmap, "mmap", Refuses)
    view = allocate(LARGE)
    view[:4] = b"fine"
    assert bytes(view[:4]) == b"fine"


@pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
def test_allocate_maps_memory_when_the_platform_is_another(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """With or without flags and advice."""
    monkeypatch.setattr(sys, "platform", platform)
    view = allocate(LARGE)
    monkeypatch.undo()
    assert view.nbytes == LARGE
    assert not view.readonly


def test_allocate_raises_when_there_is_not_so_much_memory() -> None:
    """The wire turns it into an answer to the client."""
    with pytest.raises((MemoryError, OSError, OverflowError)):
        allocate(2**62)


@pytest.mark.parametrize("platform", ["win32", "darwin", "linux"])
def test_memory_that_is_allocated_lazily_is_flat_and_writable(
    monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """Of any size, on each platform."""
    monkeypatch.setattr(sys, "platform", platform)
    view = allocate_lazily(100_000)
    monkeypatch.undo()
    assert (view.nbytes, view.format, view.ndim, view.readonly) == (100_000, "B", 1, False)
    view[-1] = 255
    assert (view[0], view[-1]) == (0, 255)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_allocated_lazily_takes_what_is_written() -> None:
    """In small pages, however large it is."""

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * mmap.PAGESIZE

    before = resident()
    views = [allocate_lazily(2**28) for _ in range(8)]
    for view in views:
        view[2**27] = 1
    assert resident() - before < 2**24
