"""How failures are worded and numbered on the command line."""

from __future__ import annotations

import pytest

from bgpy import errors
from bgpy.cli.common import exit_code, failures, worded
from bgpy.errors import Advice, BgpyError, StartupError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotRunning, 3),
        (errors.Unreachable, 4),
        (errors.NotBgpy, 4),
        (errors.ConnectError, 4),
        (errors.AuthenticationError, 5),
        (errors.StartupError, 1),
        (errors.ServerGone, 1),
        (errors.VersionMismatch, 1),
        (errors.CallTimeout, 1),
    ],
)
def test_exit_code_tells_failures_apart(error: type[BgpyError], code: int) -> None:
    """As the help lists them."""
    assert exit_code(error("it broke")) == code


def test_advice_is_in_the_words_of_the_command_line() -> None:
    """By construction: a text that happens to hold the API's words stays as it is."""
    error = StartupError(
        "the file is called tls=True", advice=Advice("give tls=True", "give --tls")
    )
    assert worded(error) == "the file is called tls=True: give --tls"
    assert worded(ValueError("give tls=True")) == "give tls=True"


def test_failures_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Also where what was printed follows."""
    error = StartupError("it broke", advice="mend it")
    error.printed = ("a line", "another")
    with pytest.raises(SystemExit) as caught, failures():
        raise error
    assert caught.value.code == 1
    assert capsys.readouterr().err == "bgpy: it broke: mend it a line another\n"
