"""Memory that is kept for when there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bgpy.system import reserve


def test_reserve_is_kept_until_it_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """And again where there is memory."""
    assert reserve.keep()
    monkeypatch.setattr(reserve, "SIZE", 2**62)
    assert reserve.keep(), "it is kept already"
    assert reserve.give_back()
    assert not reserve.give_back(), "there is nothing left to give"
    assert not reserve.keep()
    monkeypatch.undo()
    assert reserve.keep()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_reserve_takes_no_memory_as_long_as_it_is_kept() -> None:
    """It is address space; a server that is idle stays small."""
    code = """
from bgpy.system import reserve
pages = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096
before = pages()
assert reserve.keep()
print(pages() - before)
"""
    grown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < reserve.SIZE // 2
