"""The soft limit of descriptors follows the need, and some are kept."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from bgpy.system import descriptors

pytest.importorskip("resource", reason="descriptors are limited by the POSIX module resource")


def _run(code: str) -> str:
    """What a process of its own prints, whose limits are its own too."""
    text = "import os, resource\nfrom bgpy.system import descriptors\n" + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_soft_limit_is_raised_when_it_comes_near() -> None:
    """Not before, and as far as the hard one allows."""
    out = _run(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))
        print(descriptors.is_scarce(0), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        kept = [os.dup(0) for _ in range(60)]
        print(descriptors.is_scarce(0), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        """
    )
    assert out.splitlines() == ["False 64", "False 128"]


def test_some_descriptors_are_kept_when_the_hard_limit_is_reached() -> None:
    """It is said before they are gone, and also when they are."""
    out = _run(
        """
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
        kept = []
        while not descriptors.is_scarce(0):
            kept.append(os.dup(0))
        print(100 - 3 - len(kept) >= descriptors.reserved(100))
        try:
            while True:
                kept.append(os.dup(0))
        except OSError:
            print(descriptors.is_scarce(0))
        """
    )
    assert out.splitlines() == ["True", "True"]


def test_for_clients_leaves_the_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as were asked for, if the system has them."""
    monkeypatch.setattr(descriptors, "most", lambda: 1_000)
    assert descriptors.for_clients(10_000) == 1_000 - descriptors.RESERVE
    assert descriptors.for_clients(5) == 5
    monkeypatch.setattr(descriptors, "most", lambda: 8)
    assert descriptors.for_clients(10_000) == 6


def test_most_is_no_less_than_is_open() -> None:
    """Of this process."""
    assert descriptors.most() > len(os.listdir("/dev/fd"))
