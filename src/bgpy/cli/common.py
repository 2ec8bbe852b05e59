"""Shared by all commands: the address and token options, error output and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bgpy.config import ENV_HOME, LOG_LEVEL
from bgpy.errors import AuthenticationError, BgpyError, ConnectError, NotRunning

if TYPE_CHECKING:
    from bgpy.address import Address

FAILED, NOT_RUNNING, UNREACHABLE, REFUSED, INTERRUPTED = 1, 3, 4, 5, 130

LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)

Run = Callable[..., None]

TO_START = (
    "'bgpy server ADDRESS' runs a server in the foreground; in the background Python's "
    "Server(ADDRESS).run_background() starts one"
)
TO_TERMINATE = "'bgpy terminate ADDRESS' ends a server"
TO_RESTART = (
    "'bgpy terminate ADDRESS' ends a server; to start it again, run what started it, which 'bgpy "
    "doctor ADDRESS' tells then"
)
TO_ASK = (
    "'bgpy doctor ADDRESS' tells whether a server answers, what it does, and how the last one ended"
)
TO_FIND = (
    "each server that runs has a record.json with its host and port, in a folder of its own in "
    "{servers}; " + TO_ASK
)
TO_READ_LOG = (
    "'bgpy doctor ADDRESS' shows where the server's log is, and how that of the last one ends"
)
TO_SET = "there is no file of settings: 'bgpy server --help' lists what a server can be given"
TO_PLACE = "host and port are the ADDRESS, as in 127.0.0.1:24321"
PLACES = "one ADDRESS, such as 127.0.0.1:24321, or host and port"
TO_CALL = "calls are made from Python: Client(ADDRESS).call(...)"
TO_HELP = "'bgpy --help' lists the commands, 'bgpy COMMAND --help' tells what one takes"
TO_SHOW = (
    "'bgpy token show ADDRESS' prints the token for one address; those that 'bgpy add' kept are in "
    "{tokens}, one file for each address"
)
TO_KEEP = "'bgpy add ADDRESS' asks for the token of a server on another machine, and keeps it"
TO_FORGET = (
    "a token that 'bgpy add' kept is forgotten by removing its file in {tokens}; one that a server "
    "made is void when that server ends"
)
TO_MAKE = "a server that is given no token makes one; in Python token_create() does"
TO_KILL = (
    "'bgpy terminate' waits for exit_task; to end a server at once, without it, 'bgpy doctor "
    "ADDRESS' tells the process to kill"
)
TO_WAIT = (
    "'bgpy terminate' waits until the server has ended; Ctrl-C stops waiting, and the server still "
    "ends"
)
TO_LOG = "'bgpy server' and 'bgpy terminate' log more with -l DEBUG"
TO_TYPE = (
    "no token belongs on a command line, where other users can see it: it is asked for, or read "
    "from standard input"
)

ELSEWHERE = {
    **dict.fromkeys(("start", "run", "serve", "launch", "up", "daemon"), TO_START),
    **dict.fromkeys(("stop", "kill", "end", "exit", "quit", "shutdown", "down"), TO_TERMINATE),
    **dict.fromkeys(("restart", "reload"), TO_RESTART),
    **dict.fromkeys(("status", "ping", "check", "info"), TO_ASK),
    **dict.fromkeys(("log", "logs", "tail"), TO_READ_LOG),
    **dict.fromkeys(("config", "configure", "settings"), TO_SET),
    **dict.fromkeys(("ps", "list", "ls"), TO_FIND),
    **dict.fromkeys(
        ("call", "execute", "exec", "initialize", "init", "connect", "attach", "shell"), TO_CALL
    ),
    **dict.fromkeys(("remove", "rm", "forget", "delete"), TO_FORGET),
    **dict.fromkeys(("show", "tokens"), TO_SHOW),
    "help": TO_HELP,
}
"""What does what a command would do that bgpy doesn't have."""

OF_TOKENS = {
    **dict.fromkeys(("list", "ls", "print", "get"), TO_SHOW),
    **dict.fromkeys(("add", "keep", "set", "import"), TO_KEEP),
    **dict.fromkeys(("remove", "rm", "forget", "delete", "revoke"), TO_FORGET),
    **dict.fromkeys(("create", "new", "make", "generate"), TO_MAKE),
}
"""The same, of `bgpy token`."""

TOKEN_TAKES_NO_VALUE = f"--token takes no value: {TO_TYPE}"
TO_READ = (
    "'bgpy doctor' prints a line for each finding, its name first; the exit code tells what was "
    "found ('bgpy --help')"
)

OTHERWISE = {
    **dict.fromkeys(("-d", "-b", "--background", "--daemon", "--daemonize", "--detach"), TO_START),
    **dict.fromkeys(("-p", "--port", "--host", "--bind", "--address"), TO_PLACE),
    **dict.fromkeys(("--force", "--kill", "-9"), TO_KILL),
    **dict.fromkeys(("--timeout", "--wait", "--no-wait"), TO_WAIT),
    **dict.fromkeys(("-v", "--verbose", "--debug"), TO_LOG),
    **dict.fromkeys(("-t", "--token"), TO_TYPE),
    **dict.fromkeys(("--json", "--format", "--output", "-o", "-q", "--quiet"), TO_READ),
}
"""The same, of options."""


LIKE = 0.8
"""How much of an option's name has to be right for it to be told as the one that was meant."""


class Command(click.Command):
    """A command whose errors in arguments say what else a word may have meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As that of click, which takes a token that follows ``--token`` for another argument."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            way_out = _meant(words)
            if way_out is None:
                raise
            raise click.UsageError(f"{way_out}.", error.ctx) from None


def _meant(words: list[str]) -> str | None:
    """What to say of arguments that don't fit, where they look like a known slip."""
    for word, after in pairwise([*words, "-"]):
        is_value = not after.startswith("-") and ":" not in after  # which an address has
        if word.startswith("--token=") or (word in ("-t", "--token") and is_value):
            return TOKEN_TAKES_NO_VALUE
    if words and words[0] in ELSEWHERE:
        return f"{words[0]!r} is no ADDRESS: {_filled(ELSEWHERE[words[0]])}"
    return None


class Commands(click.Group):
    """The commands; a word that is none of them is answered with the one that does it."""

    command_class = Command

    elsewhere = ELSEWHERE
    """What does what another word may mean."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As that of click, whose error doesn't know what a word may mean."""
        if args and args[0] in self.elsewhere and self.get_command(ctx, args[0]) is None:
            way_out = _filled(self.elsewhere[args[0]])
            ctx.fail(f"No such command {args[0]!r}: {way_out}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """As that of click; an option that no command has is answered as well."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            way_out = OTHERWISE.get(error.option_name) or _options(error)
            text = f"No such option {error.option_name!r}: {way_out}."
            raise click.UsageError(text, error.ctx) from None


def _options(error: click.NoSuchOption) -> str:
    """Which options there are instead: the one whose name is nearly the same, or where to look."""
    if like := get_close_matches(error.option_name, error.possibilities or (), 1, LIKE):
        return f"{like[0]!r} is probably what you mean"
    command = error.ctx.command_path if error.ctx else "bgpy"
    return f"'{command} --help' lists those that there are"


class TokenCommands(Commands):
    """Those of `bgpy token`."""

    elsewhere = OF_TOKENS


def _filled(way_out: str) -> str:
    """The text, with the folders that it names."""
    for name in ("servers", "tokens"):
        way_out = way_out.replace(f"{{{name}}}", _folder(name))
    return way_out


def _folder(name: str) -> str:
    """That one of the folders of the state, or the variable that names where it is."""
    from bgpy.state import folders

    try:
        return folders.below_machine(name)
    except BgpyError:
        return f"below {ENV_HOME}"


def _ask(context: click.Context, option: click.Parameter, asked: bool) -> str | None:
    """Ask for the token at a prompt: on the command line, other users could see it."""
    return ask_for_token() if asked else None


def ask_for_token() -> str:
    """Read the token: hidden input at a terminal, else the first line of standard input."""
    if sys.stdin is None or sys.stdin.isatty():
        try:
            return str(click.prompt("Token", hide_input=True, err=True))
        except click.Abort:  # Ctrl-C, or the end of the input
            click.echo(err=True)
            leave("interrupted", INTERRUPTED)
    return sys.stdin.readline().strip()


def token_option(without: str) -> Callable[[Run], Run]:
    """Add ``--token``; `without` says which token is used if BGPY_TOKEN isn't set either."""
    return click.option(
        "-t",
        "--token",
        is_flag=True,
        callback=_ask,
        help=f"Prompt for the token. Default: BGPY_TOKEN if it is set, else {without}.",
    )


tls_option = click.option(
    "--tls",
    is_flag=True,
    default=None,
    help="Use TLS on loopback too; connections to other machines always use TLS.",
)


def at_address(command: Run) -> Run:
    """Take ``ADDRESS``, or the old pair of host and port, as `address` and `port`."""
    return click.argument("address")(port_argument(command))


class Port(click.IntRange):
    """The port of the old pair of host and port."""

    def __init__(self) -> None:
        super().__init__(0, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As that of click, whose error doesn't say what else belongs there."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is no port (0 to 65535): write {PLACES}", param, ctx)


def port_argument(command: Run) -> Run:
    """Take the port of the old pair; first of all, so that no token is asked for in vain."""
    return click.argument("port", type=Port(), required=False, is_eager=True)(command)


def logs(command: Run) -> Run:
    """Add ``--log-level`` and ``--log-file``."""
    level = click.option(
        "-l",
        "--log-level",
        type=LEVELS,
        default=LOG_LEVEL,
        show_default=True,
        help="Log bgpy's own messages of this level and above.",
    )(command)
    return click.option(
        "-f",
        "--log-file",
        type=click.Path(dir_okay=False),
        help="Log to this file as well; the first message makes it.",
    )(level)


def parsed(address: str, port: int | None) -> Address:
    """The address that the command's arguments name."""
    from bgpy.address import parse

    with usage():
        return parse(address, port)


@contextmanager
def usage() -> Iterator[None]:
    """Report an invalid address or token as a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(worded(error)) from error


@contextmanager
def failures() -> Iterator[None]:
    """Turn any exception into one line on stderr and the matching exit code."""
    try:
        yield
    except (click.ClickException, BrokenPipeError):
        raise  # the latter is of standard output: those of sockets have become errors of bgpy
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
    """Print the reason on stderr, in one line, and exit with `code`."""
    click.echo(f"bgpy: {' '.join(worded(reason).split())}", err=True)
    sys.exit(code)


def worded(reason: object) -> str:
    """What went wrong and what to do, in the words of the command line."""
    return reason.text("cli") if isinstance(reason, BgpyError) else str(reason)
