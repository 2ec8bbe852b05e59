"""Log lines bear what a program's handlers raise."""

from __future__ import annotations

import logging

import pytest

from bgpy.system.logged import bear_handlers


class Raising(logging.Handler):
    """One of a program's that fails, and does not catch it as Python's own do."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("its disk is full")


@pytest.mark.parametrize("where", ["", "bgpy.tried", "bgpy.tried.below"])
def test_a_line_is_logged_when_a_handler_raises(
    where: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The failure is printed, and whoever logs goes on; it may be said twice."""
    log = logging.getLogger("bgpy.tried.below")
    for _ in range(2):
        bear_handlers(log.name)
    handler = Raising()
    logging.getLogger(where).addHandler(handler)
    try:
        log.error("told")
    finally:
        logging.getLogger(where).removeHandler(handler)
    assert "its disk is full" in capfd.readouterr().err
