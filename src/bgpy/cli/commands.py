"""The commands ``server``, ``terminate`` and ``version``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from bgpy.config import LOG_LEVEL
from bgpy.errors import AuthenticationError, BgpyError, ConnectError, NotRunning, StartupError

FAILED, NOT_RUNNING, UNREACHABLE, REFUSED, INTERRUPTED = 1, 3, 4, 5, 130

LEVELS = click.Choice(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], case_sensitive=False)


def _ask(context: click.Context, option: click.Parameter, asked: bool) -> str | None:
    """The token from a prompt: on the command line, other users could see it."""
    return str(click.prompt("Token", hide_input=True)) if asked else None


def _common(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("-f", "--log-file", type=click.Path(dir_okay=False), help="Also log here."),
        click.option("-l", "--log-level", type=LEVELS, default=LOG_LEVEL, show_default=True),
        click.option(
            "-t",
            "--token",
            is_flag=True,
            callback=_ask,
            help="Ask for the token. Without it: BGPY_TOKEN, else the one kept for this account.",
        ),
        click.argument("port", type=click.IntRange(0, 65535)),
        click.argument("host"),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def program() -> None:
    """Python processes that stay alive in the background, hold state and answer.

    Exit codes: 0 done, 1 failed, 2 usage, 3 nothing runs there, 4 unreachable or not a
    bgpy server, 5 token refused.
    """


@program.command()
@_common
@click.option(
    "-i",
    "--init-file",
    type=click.Path(),
    help="Python file with init_task, exec_task and exit_task.",
)
def server(
    host: str,
    port: int,
    token: str | None,
    log_level: str,
    log_file: str | None,
    init_file: str | None,
) -> None:
    """Run a server on HOST and PORT in the foreground, logging to stderr.

    Port 0 takes a free one, which the log tells. Ctrl-C ends it: the task that runs
    finishes, then exit_task runs; a second Ctrl-C ends it at once.
    """
    with _failures():
        from bgpy.api.running import end_soon
        from bgpy.api.server import Server

        with _usage():
            started = Server(host, port, token, log_level, log_file, init_file)
        try:
            started.run()
        except (SystemExit, Exception) as error:
            if init_file is None or isinstance(error, BgpyError):
                raise
            raise StartupError(f"the init file failed: {_described(error)}") from error
        end_soon()


@program.command()
@_common
def terminate(
    host: str, port: int, token: str | None, log_level: str, log_file: str | None
) -> None:
    """End the server on HOST and PORT: run its exit_task and wait until it is gone."""
    with _failures():
        from bgpy.api.client import Client

        with _usage():
            client = Client(host, port, token, log_level, log_file)
        with client:
            client.terminate()


@program.command()
def version() -> None:
    """Print the version."""
    from bgpy.version import __version__

    click.echo(f"bgpy {__version__}")


@contextmanager
def _usage() -> Iterator[None]:
    """What can't be a host, port or token is a mistake in the command."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def _failures() -> Iterator[None]:
    """One clear line on stderr and the right exit code for whatever goes wrong."""
    try:
        yield
    except click.ClickException:
        raise
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except NotRunning as error:
        _exit(error, NOT_RUNNING)
    except ConnectError as error:
        _exit(error, UNREACHABLE)
    except AuthenticationError as error:
        _exit(error, REFUSED)
    except BgpyError as error:
        _exit(error, FAILED)
    except Exception as error:
        _exit(f"{type(error).__name__}: {error}", FAILED)


def _described(error: BaseException) -> str:
    """An exception in one line, with the place that raised it."""
    import traceback

    text = traceback.format_exception_only(error)[-1].strip()
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({place.filename}, line {place.lineno})"


def _exit(reason: object, code: int) -> None:
    click.echo(f"bgpy: {' '.join(str(reason).split())}", err=True)
    sys.exit(code)
