"""What a client is made with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgpy.address import parse
from bgpy.api.settings import A_DAY, checked, checked_log, fitting_tls, log_to
from bgpy.errors import ArgumentError

HERE = parse("127.0.0.1", 1)
AWAY = parse("192.0.2.1", 1)


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """The client's, as it was before the test when that is over."""
    log = logging.getLogger("bgpy.client")
    level, handlers = log.level, log.handlers[:]
    yield log
    for each in log.handlers[:]:
        if each not in handlers:
            log.removeHandler(each)
            each.close()
    log.setLevel(level)


@pytest.mark.parametrize(("given", "kept"), [(None, A_DAY), (2 * A_DAY, A_DAY), (3.0, 3.0)])
def test_time_to_connect_is_one_that_sockets_accept(given: float | None, kept: float) -> None:
    """Whatever it is, without limit too; that of a call stays what it is."""
    assert checked(HERE, None, given, None) == (HERE, None, kept, None)  # type: ignore[arg-type]
    assert checked(HERE, 2 * A_DAY, 1.0, True) == (HERE, 2 * A_DAY, 1.0, True)


def test_tls_that_the_address_does_not_allow_is_refused() -> None:
    """Connections to other machines always use it."""
    assert fitting_tls(None, AWAY) is None
    with pytest.raises(ValueError, match=r"TLS|tls"):
        fitting_tls(False, AWAY)
    with pytest.raises(ValueError, match=r"TLS|tls"):
        checked(AWAY, None, 1.0, False)


def test_log_that_cannot_be_written_is_refused_before_it_is_made(tmp_path: Path) -> None:
    """And so is a level that there isn't."""
    file = tmp_path / "client.log"
    assert checked_log("INFO", file) == str(file)
    assert checked_log("INFO", None) is None
    for bad in (tmp_path, tmp_path / "nowhere" / "client.log"):
        with pytest.raises(ArgumentError, match="can't be written"):
            checked_log("INFO", bad)
    with pytest.raises(ValueError, match="LOUD"):
        checked_log("LOUD", file)
    assert not file.exists()


def test_log_gets_one_handler_for_a_file(log: logging.Logger, tmp_path: Path) -> None:
    """However many clients name it."""
    file = tmp_path / "client.log"
    before = len(log.handlers)
    for _ in range(2):
        log_to("ERROR", str(file))
    log_to("ERROR", None)
    assert len(log.handlers) == before + 1
    log.error("heard")
    log.warning("not heard")
    assert "heard" in file.read_text()
    assert "not heard" not in file.read_text()
