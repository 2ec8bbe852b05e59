"""Truths of what is known of the last server at an address."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bgpy.address import Address
from bgpy.state import claims, folders, reports, traces
from tests.support.claimed import ADDRESS, own_record

CRASH = "Fatal Python error: Segmentation fault"


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., traces.Traces | None]:
    """What is found where a server with that log has ended, and said so or not."""

    def of(text: str, ended: str) -> traces.Traces | None:
        log = tmp_path / "log"
        log.write_text(text)
        claim = claims.claim(ADDRESS)
        record = replace(own_record(), log_file=str(log), pid=2**22 + 5)
        claim.write(record, None)
        if ended:
            claim.release(ended)
        else:
            claim.close_in_child()  # as when the process is gone
        return traces.of_last(ADDRESS)

    return of


@pytest.mark.parametrize(
    ("text", "ended", "fate", "line"),
    [
        ("first\nlast\n", "", r"its process 4194309 was killed or crashed", "last"),
        (
            f"{CRASH}\n\nThread 1\n",
            "",
            "its process 4194309 was killed or crashed (its log says that it crashed: "
            "Segmentation fault (SIGSEGV))",
            CRASH,
        ),
        (
            f"{CRASH}\nlast\n",
            "failed to start: x",
            "it failed to start: x",
            "last",
        ),
        ("\x1b[1mbold\n\n", "ended in order", "it ended in order", "?[1mbold"),
    ],
)
def test_fate_and_the_line_that_says_most(
    left: Callable[..., traces.Traces], text: str, ended: str, fate: str, line: str
) -> None:
    """Of a crash the line that names it; what a server has said of its end is believed."""
    found = left(text, ended)
    assert (found.fate(), found.line, found.is_alive) == (fate, line, False)
    assert found.there == ADDRESS


def test_log_without_a_record_is_a_trace_and_nothing_is_none() -> None:
    """Its record may have been removed."""
    assert traces.of_last(ADDRESS) is None
    claims.claim(ADDRESS).release()
    assert traces.of_last(ADDRESS) is None
    Path(folders.folder(*ADDRESS).log).write_text("printed\n")
    found = traces.of_last(ADDRESS)
    assert found is not None
    assert (found.record, found.line) == (None, "printed")
    assert found.fate() == "it left no word of how it ended"


def test_server_on_all_interfaces_is_found_at_loopback(claim: claims.Claim) -> None:
    """And one that lives goes before one that is gone, whichever logged last."""
    other = claims.claim(Address("0.0.0.0", ADDRESS.port))
    other.write(replace(own_record(), host="0.0.0.0"), None)
    claim.release("ended in order")
    found = traces.of_last(ADDRESS)
    assert found is not None
    assert (found.there.host, found.is_alive) == ("0.0.0.0", True)
    assert f"process {os.getpid()} still runs" in found.fate()
    other.release()


def test_begin_of_a_server_hides_the_crash_before_it(
    left: Callable[..., traces.Traces], tmp_path: Path
) -> None:
    """A log that serves one server after another tells of the last one only."""
    log = tmp_path / "before"
    log.write_text(f"{CRASH}\n")
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    reports.begin(descriptor)
    os.close(descriptor)
    found = left(log.read_text() + "it listens\n", "")
    assert (found.line, "crashed:" in found.fate()) == ("it listens", False)
