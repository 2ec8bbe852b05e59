"""What the error of a lost connection tells of the server's process and its log."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy.address import Address
from bgpy.calling.blocking import loss
from bgpy.state import claims, records
from bgpy.system.processes import ProcessId

PLACE = Address("127.0.0.1", 5)
NUMBER = b"n" * 16


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that lives until its standard input ends, and was not waited for after that."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process
        process.kill()


def _leave_record(where: Address, log_file: str) -> None:
    claim = claims.claim(where)
    claim.write(records.Record.of_this_process(where, NUMBER, "1", log_file), None)
    claim.close_in_child()


def test_end_of_the_process_is_the_reason_where_it_is_known(
    process: subprocess.Popen[bytes], bgpy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its pid, and the log that its record names, if that is of the same server."""
    monkeypatch.setattr(loss, "MOMENT", 20.0)  # a killed process ends when its turn comes
    there = ProcessId.of(process.pid)
    process.kill()
    reason, known = loss.learn("lost", there, PLACE, NUMBER)
    gone = f"the server's process (pid {process.pid}) is gone"
    assert reason == f"{gone}, cause unknown (killed, or exited by itself)"
    assert (known.address, known.pid, known.log_file) == (str(PLACE), process.pid, None)
    assert known.advice is not None
    assert f"'bgpy doctor {PLACE}'" in known.advice
    log = bgpy_home / "log"
    _leave_record(Address("0.0.0.0", 5), str(log))
    log.write_text("Fatal Python error: Aborted\n")
    reason, known = loss.learn("lost", there, PLACE, NUMBER)
    assert reason == f"{gone}, its log says that it crashed: Aborted (SIGABRT)"
    assert known.log_file == str(log)
    assert known.advice is not None
    assert str(log) in known.advice
    _, known = loss.learn("lost", there, PLACE, bytes(16))
    assert known.log_file is None


def test_reason_stays_where_the_process_lives_or_is_elsewhere(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What isn't known is not claimed."""
    monkeypatch.setattr(loss, "MOMENT", 0.01)
    reason, known = loss.learn("lost", ProcessId.of(process.pid), PLACE, NUMBER)
    assert (reason, known.pid, known.advice) == ("lost", process.pid, None)
    assert loss.learn("lost", None, PLACE, NUMBER) == ("lost", loss.Known(address=str(PLACE)))


def test_record_that_can_not_be_read_costs_only_the_log(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of the call comes whatever else is wrong."""

    def fail(host: str, port: int) -> None:
        raise RuntimeError("no home")

    monkeypatch.setattr(records, "places", fail)
    there = ProcessId.of(process.pid)
    process.kill()
    assert loss.learn("lost", there, PLACE, NUMBER)[1].log_file is None
