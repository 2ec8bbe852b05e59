"""Do the functions take what they will be given? Asked before they are called."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest

from bgpy.tasks.signatures import Functions, check, takes_client_socket


def three(client_socket: Any, state: Any, args: Any) -> None:
    """The form that exec_task and exit_task have."""


class Methods:
    """Tasks as methods."""

    def init(self) -> None: ...

    def three(self, client_socket: Any, state: Any, args: Any) -> None: ...

    @staticmethod
    def static(client_socket: Any, state: Any, args: Any) -> None: ...

    def __call__(self, client_socket: Any, state: Any, args: Any) -> None: ...


INITS: list[tuple[Callable[..., Any], bool]] = [
    (lambda: None, False),
    (lambda client_socket: None, True),
    (lambda other_name: None, True),
    (lambda client_socket=None: None, True),
    (lambda *args: None, True),
    (lambda **options: None, False),
    (lambda client_socket, more=1: None, True),
    (functools.partial(lambda number: None, 1), False),
    (functools.partial(lambda number, client_socket: None, 1), True),
    (Methods().init, False),
    (dict, True),  # written in C, and tells nothing
]


@pytest.mark.parametrize(("init_task", "expected"), INITS)
def test_takes_client_socket_tells_how_init_task_is_called(
    init_task: Callable[..., Any], expected: bool
) -> None:
    """With the client socket where it can be, else without."""
    assert takes_client_socket(init_task) is expected


EXECS: list[Callable[..., Any]] = [
    three,
    lambda a, b, c: None,
    lambda a, b, c, d=1: None,
    lambda *args: None,
    lambda a, *args, option=1: None,
    functools.partial(lambda number, a, b, c: None, 1),
    Methods().three,
    Methods.static,
    Methods(),
    functools.wraps(three)(lambda *args: None),
]


@pytest.mark.parametrize("task", EXECS)
def test_check_accepts_whatever_takes_three_arguments(task: Callable[..., Any]) -> None:
    """Names don't matter, nor what kind of callable it is."""
    check(Functions(lambda: None, task, task))


def _two(client_socket: Any, state: Any) -> None: ...


def _four(a: Any, b: Any, c: Any, d: Any) -> None: ...


def _by_keyword(*, client_socket: Any, state: Any, args: Any) -> None: ...


WRONG: list[tuple[Functions, str]] = [
    (Functions(5, three, three), "init_task must be callable, not int: give the function itself"),  # type: ignore[arg-type]
    (Functions(print, "text", three), "exec_task must be callable, not str"),  # type: ignore[arg-type]
    (Functions(print, three, None), "exit_task must be callable, not NoneType"),  # type: ignore[arg-type]
    (Functions(_two, three, three), r"init_task must take one .* or none; _two\(.*does not"),
    (Functions(print, _two, three), r"exec_task must take three .*_two\("),
    (Functions(print, _four, three), r"exec_task must take three .*_four\("),
    (Functions(print, three, _by_keyword), r"exit_task must take three .*_by_keyword\("),
    (Functions(print, three, lambda: None), r"exit_task must take three .*<lambda>\(\)"),
]


@pytest.mark.parametrize(("functions", "text"), WRONG)
def test_check_names_the_function_when_it_cannot_be_called_so(
    functions: Functions, text: str
) -> None:
    """The message shows which one, and its parameters."""
    with pytest.raises(TypeError, match=text):
        check(functions)


class AsyncCall:
    """A task as an instance."""

    async def __call__(self, client_socket: Any, state: Any, args: Any) -> None: ...


async def _async(client_socket: Any, state: Any, args: Any) -> None: ...


def _generator(client_socket: Any, state: Any, args: Any) -> Any:
    yield state


async def _async_generator(client_socket: Any, state: Any, args: Any) -> Any:
    yield state


class Refused:
    """Tasks as methods of every kind."""

    async def method(self, client_socket: Any, state: Any, args: Any) -> None: ...

    @classmethod
    async def of_class(cls, client_socket: Any, state: Any, args: Any) -> None: ...

    @staticmethod
    def static(client_socket: Any, state: Any, args: Any) -> Any:
        yield state

    part = functools.partialmethod(method)


class CallsPartial:
    """What is called is no function itself."""

    __call__ = functools.partial(_async)


NOT_RUN = [
    _async,
    _generator,
    _async_generator,
    functools.partial(_async),
    functools.partial(functools.partial(_generator), state=None),
    AsyncCall(),
    functools.partial(AsyncCall()),
    CallsPartial(),
    Refused().method,
    Refused.of_class,
    Refused.static,
    Refused().part,
    functools.cache(_async),
    types.coroutine(_generator),
]


@pytest.mark.parametrize("function", NOT_RUN)
@pytest.mark.parametrize("name", ["exec_task", "exit_task"])
def test_check_refuses_functions_whose_body_a_call_does_not_run(name: str, function: Any) -> None:
    """Not a line of it would ever run, and no call would have a response."""
    functions = Functions(lambda: None, three, three)._replace(**{name: function})
    with pytest.raises(TypeError, match=f"{name} must be a plain function: .* not supported yet"):
        check(functions)


def test_check_refuses_an_init_task_whose_body_a_call_does_not_run() -> None:
    """Nor one that is a generator: the state would be one that has not begun."""

    async def init() -> None: ...

    def numbers() -> Any:
        yield 1

    for function in (init, numbers, functools.partial(init)):
        with pytest.raises(TypeError, match="init_task must be a plain function"):
            check(Functions(function, three, three))
    check(Functions(lambda: numbers(), three, three))


def test_check_takes_what_calls_itself_without_an_end() -> None:
    """Looking through wrappers ends."""

    class Endless:
        pass

    Endless.__call__ = Endless()  # type: ignore[attr-defined]
    with pytest.raises((TypeError, RecursionError)):
        check(Functions(print, Endless(), three))
