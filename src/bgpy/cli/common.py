"""What the commands share: the address and token they take, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from bgpy.config import LOG_LEVEL
from bgpy.errors import AuthenticationError, BgpyError, ConnectError, NotRunning

if TYPE_CHECKING:
    from bgpy.address import Address

FAILED, NOT_RUNNING, UNREACHABLE, REFUSED, INTERRUPTED = 1, 3, 4, 5, 130

LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)

Command = Callable[..., None]


def _ask(context: click.Context, option: click.Parameter, asked: bool) -> str | None:
    """The token from a prompt: on the command line, other users could see it."""
    return ask_for_token() if asked else None


def ask_for_token() -> str:
    """The token, typed unseen at a terminal, else the first line of standard input."""
    if sys.stdin is None or sys.stdin.isatty():
        return str(click.prompt("Token", hide_input=True, err=True))
    return sys.stdin.readline().strip()


def token_option(without: str) -> Callable[[Command], Command]:
    """Take the token from a prompt; `without` says which is used where BGPY_TOKEN isn't set."""
    return click.option(
        "-t",
        "--token",
        is_flag=True,
        callback=_ask,
        help=f"Ask for the token. Without this option: that of BGPY_TOKEN, else {without}.",
    )


tls_option = click.option(
    "--tls",
    is_flag=True,
    default=None,
    help="Speak TLS on loopback too; beyond it, TLS is always spoken.",
)


def at_address(command: Command) -> Command:
    """Take ``ADDRESS``, or the old pair of host and port, as `address` and `port`."""
    return click.argument("address")(port_argument(command))


def port_argument(command: Command) -> Command:
    """Take the port of the old pair."""
    return click.argument("port", type=click.IntRange(0, 65535), required=False)(command)


def logs(command: Command) -> Command:
    """Take where to log, and how much."""
    level = click.option(
        "-l",
        "--log-level",
        type=LEVELS,
        default=LOG_LEVEL,
        show_default=True,
        help="Log what is of this level or above.",
    )(command)
    return click.option(
        "-f", "--log-file", type=click.Path(dir_okay=False), help="Log to this file as well."
    )(level)


def parsed(address: str, port: int | None) -> Address:
    """The address that the words of the command name."""
    from bgpy.address import parse

    with usage():
        return parse(address, port)


@contextmanager
def usage() -> Iterator[None]:
    """What can't be an address or a token is a mistake in the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(worded(error)) from error


@contextmanager
def failures() -> Iterator[None]:
    """One clear line on stderr and the right exit code for whatever goes wrong."""
    try:
        yield
    except click.ClickException:
        raise
    except KeyboardInterrupt:
        leave("interrupted", INTERRUPTED)
    except BgpyError as error:
        leave(error, exit_code(error))
    except Exception as error:
        leave(f"{type(error).__name__}: {error}", FAILED)


def exit_code(error: BgpyError) -> int:
    """The exit code that tells `error` from others."""
    if isinstance(error, NotRunning):
        return NOT_RUNNING
    if isinstance(error, ConnectError):
        return UNREACHABLE
    return REFUSED if isinstance(error, AuthenticationError) else FAILED


def leave(reason: object, code: int) -> NoReturn:
    """Say why on stderr, in one line, and exit with `code`."""
    click.echo(f"bgpy: {' '.join(worded(reason).split())}", err=True)
    sys.exit(code)


def worded(reason: object) -> str:
    """What went wrong and what to do, in the words of the command line."""
    return reason.text("cli") if isinstance(reason, BgpyError) else str(reason)
