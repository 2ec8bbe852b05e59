"""Handlers that fail, of a logger that many depend on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from bgpy.system.shielded_log import shield

NAME = "bgpy.tests.shielded"


class Failing(logging.Handler):
    """A handler of a user's."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture(params=[NAME, "bgpy.tests"])
def failing(request: pytest.FixtureRequest) -> Iterator[str]:
    """The logger itself has one, or one above it."""
    handler, log = Failing(), logging.getLogger(request.param)
    log.addHandler(handler)
    yield request.param
    log.removeHandler(handler)


def test_failure_is_printed_and_nothing_else(
    failing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice shielded is shielded once; where failures are not wanted, none is shown."""
    shield(NAME)
    shield(NAME)
    log = logging.getLogger(NAME)
    log.error("a call failed: %s", "badly")
    shown = capsys.readouterr().err
    assert shown.count("a log handler failed on: a call failed") == 1
    assert "the disk is full" in shown


def test_failure_is_not_shown_where_logging_shows_none(
    failing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`logging.raiseExceptions` decides, as for the library's own handlers."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    shield(NAME)
    logging.getLogger(NAME).error("a call failed")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("strike", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_comes_through(strike: type[BaseException]) -> None:
    """It isn't a handler's failure."""

    class Ends(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise strike

    shield(NAME)
    handler, log = Ends(), logging.getLogger(NAME)
    log.addHandler(handler)
    try:
        with pytest.raises(strike):
            log.error("a call failed")
    finally:
        log.removeHandler(handler)
