"""The audit: one line per connection, those of strangers at a bounded rate."""

from __future__ import annotations

import logging

import pytest

from bgpy.serving.sessions import audit
from bgpy.serving.sessions.audit import BURST, RATE, Audit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the audit reads, to be set by the test."""
    now = [1000.0]
    monkeypatch.setattr(audit, "monotonic", lambda: now[0])
    return now


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bgpy.server")


def test_audit_writes_peer_client_and_outcome_when_a_client_leaves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line, at level INFO."""
    Audit().ended("127.0.0.1:7", b"\x01\xff", "left")
    assert caplog.record_tuples == [
        ("bgpy.server", logging.INFO, "127.0.0.1:7 client 01ff: disconnected (left)")
    ]


def test_audit_leaves_out_strangers_when_they_are_too_many(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """A burst is written, then some a second; how many were left out is told."""
    log = Audit()
    for _ in range(3 * BURST):
        log.ended("p", b"", "closed")
    assert len(caplog.records) == BURST
    clock[0] += 2 / RATE
    for _ in range(BURST):
        log.ended("p", b"", "closed")
    texts = [record.getMessage() for record in caplog.records[BURST:]]
    assert texts == [
        f"{2 * BURST} more connections ended before proving the token",
        "p client -: disconnected (closed)",
        "p client -: disconnected (closed)",
    ]


def test_audit_writes_all_clients_when_strangers_are_too_many(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever proved the token is always in the log."""
    log = Audit()
    for _ in range(2 * BURST):
        log.ended("p", b"", "closed")
    log.ended("q", b"c", "left")
    assert caplog.records[-1].getMessage() == "q client 63: disconnected (left)"


def test_audit_tells_what_was_left_out_once_when_the_server_ends(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is said where nothing was left out."""
    log = Audit()
    log.tell_left_out()
    for _ in range(BURST + 1):
        log.ended("p", b"", "closed")
    log.tell_left_out()
    log.tell_left_out()
    assert len(caplog.records) == BURST + 1
    assert caplog.records[-1].getMessage() == "1 more connections ended before proving the token"
