"""How failures are worded and numbered on the command line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bgpy import errors
from bgpy.cli.commands import program
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


NO_VALUE = "--token takes no value: no token belongs on a command line"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("server 127.0.0.1:5 --token abc", NO_VALUE),
        ("server 127.0.0.1:5 --token=abc", NO_VALUE),
        ("server 127.0.0.1 5 -t abc", NO_VALUE),
        ("doctor -t abc 127.0.0.1:5", NO_VALUE),
        ("server 127.0.0.1:5 abc", "'abc' is no port (0 to 65535): write one ADDRESS"),
        ("server -t 127.0.0.1:5 abc", "'abc' is no port (0 to 65535): write one ADDRESS"),
        ("terminate 127.0.0.1 99999", "'99999' is no port (0 to 65535)"),
        ("server list 127.0.0.1:5", "'list' is no ADDRESS: each server that runs has"),
        ("logs", "'bgpy doctor ADDRESS' shows where the server's log is"),
        ("up", "'bgpy server ADDRESS' runs a server in the foreground"),
        ("attach x:5", "calls are made from Python"),
        ("doctor 127.0.0.1:5 --json", "No such option '--json': 'bgpy doctor' prints a line"),
        ("doctor 127.0.0.1:5 --tsl", "No such option '--tsl': '--tls' is probably what you mean"),
        ("doctor 127.0.0.1:5 --all", "No such option '--all': 'bgpy doctor --help' lists those"),
        ("token show x:5 --all", "No such option '--all': 'bgpy token show --help' lists those"),
    ],
)
def test_arguments_that_do_not_fit_are_answered_with_what_does(words: str, said: str) -> None:
    """Before anything is asked for, and with code 2; no other option is proposed at random."""
    done = CliRunner().invoke(program, words.split(), "typed\n", prog_name="bgpy")
    assert done.exit_code == 2
    assert said in done.output
    assert "Token:" not in done.output
