"""What type checkers know of the three functions; nothing here runs.

The names of their parameters are the user's own, as in 0.3.1, so they are given by position.
``S`` is the state: what `InitTask` gives, and what `ExecTask` takes and gives.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

from bgpy.tasks.client_socket import ClientSocket

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
S_contra = TypeVar("S_contra", contravariant=True)


class TypedArgs(Protocol):
    """A `TypedDict` of the user's: a dict, which type checkers take for no ``dict``."""

    __required_keys__: ClassVar[frozenset[str]]
    __optional_keys__: ClassVar[frozenset[str]]


Args: TypeAlias = dict[str, Any] | TypedArgs
"""Arguments of a call: a dict, with any keys or those of a `TypedDict`."""


class InitWithoutCaller(Protocol[S_co]):
    """An `InitTask` that takes nothing."""

    def __call__(self) -> S_co: ...


class InitWithCaller(Protocol[S_co]):
    """An `InitTask` that takes the client socket."""

    def __call__(self, client_socket: ClientSocket, /) -> S_co: ...


InitTask: TypeAlias = InitWithoutCaller[S] | InitWithCaller[S]
"""``init_task() -> state`` or ``init_task(client_socket) -> state``: runs once, at the start."""


class ExecTask(Protocol[S]):
    """``exec_task(client_socket, state, args) -> state``: runs for each request.

    What it returns is the next state; None keeps the state. `args` is the dict that the client
    sent, with one key more: ``await_response``, which tells whether the client waits.
    """

    def __call__(self, client_socket: ClientSocket, state: S, args: Any, /) -> S | None: ...


class ExitTask(Protocol[S_contra]):
    """``exit_task(client_socket, state, args)``: runs once, at the end.

    What it returns is not used.
    """

    def __call__(self, client_socket: ClientSocket, state: S_contra, args: Any, /) -> object: ...
