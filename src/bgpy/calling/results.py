"""What a server answered, as a value or as the exception to raise."""

from __future__ import annotations

import logging
from typing import Any, TypeVar

from bgpy.calling.conversation import Answer
from bgpy.codec import failures, payload
from bgpy.codec.payload import loads, rebuild
from bgpy.errors import (
    BgpyError,
    CallingSelf,
    DecodeError,
    EncodeError,
    MessageTooLarge,
    NoResponse,
    NotInitialized,
    PythonMismatch,
    RemoteProtocolError,
    ServerOverloaded,
)
from bgpy.wire.messages import Failure, Reason, Receipt, ReceiptCode, Reply

E = TypeVar("E", bound=BaseException)

log = logging.getLogger("bgpy.client")

_ERRORS: dict[int, type[BgpyError]] = {
    Reason.NOT_INITIALIZED: NotInitialized,
    Reason.NO_RESPONSE: NoResponse,
    Reason.PROTOCOL: RemoteProtocolError,
    Reason.TOO_LARGE: MessageTooLarge,
    Reason.DECODE: DecodeError,
    Reason.PYTHON: PythonMismatch,
    Reason.CODEC: EncodeError,
    Reason.OVERLOAD: ServerOverloaded,
    Reason.CALLING_SELF: CallingSelf,
    Reason.UNSUPPORTED: RemoteProtocolError,
    Reason.DROPPED: NoResponse,
}

_ADVICE: dict[int, str] = {
    Reason.NOT_INITIALIZED: "call initialize() first, or start the server with an init file",
    Reason.NO_RESPONSE: "call respond(client_socket, value) in the task",
    Reason.DROPPED: "catch exceptions where the response is made, and pass them to fail() of what "
    "client_socket.defer() gave; keep that until it has responded, and have exit_task wait for it",
    Reason.CALLING_SELF: "call the function itself, or use execute() without await_response",
    Reason.OVERLOAD: "call again later, or raise the server's max_memory",
}
"""What a caller can do; the failure's own text says what happened."""

_RECEIPTS = {
    ReceiptCode.INITIALIZED: "Initialization successful.",
    ReceiptCode.ALREADY_INITIALIZED: "Already initialized.",
}


def value_of(answer: Answer, received: str) -> Any:
    """The value of an answer; a plain receipt says ``Received 'received'``.

    Raises what a `Failure` tells of, the `ServerGone` or `CallTimeout` that the call ended
    in, and `DecodeError` for a value that can't be rebuilt here.
    """
    if isinstance(answer, bytearray):
        return payload.decode(bytes(answer), (), False, "response")
    if isinstance(answer, Reply):
        _, head, buffers, _, code, error = answer
        value = payload.decode(head, buffers, code, "response")
        if error:
            log.error("the task responded with an error: %.1000r", value)
        return value
    if isinstance(answer, Failure):
        raise _error_of(answer)
    if isinstance(answer, Receipt):
        return {"message": _RECEIPTS.get(ReceiptCode(answer.code), f"Received '{received}'")}
    if isinstance(answer, BgpyError):
        raise answer
    raise RemoteProtocolError(f"the server answered with a {type(answer).__name__}")


def about(error: E, address: object) -> E:
    """`error`, which names the server at `address` from now on.

    Not where it names one already, is the task's own, or is none of bgpy's.
    """
    if isinstance(error, BgpyError) and not error.remote and error.address is None:
        error.address = str(address)
    return error


def executed(address: object, answer: Answer) -> Any:
    """The value of the answer of an `Execute`, in as few steps as it can be."""
    try:
        if answer.__class__ is bytearray:
            try:
                return loads(answer)
            except Exception as error:
                return rebuild(error, bytes(answer), (), "response")
        return value_of(answer, "EXEC")
    except Exception as error:
        about(error, address)
        raise


def _error_of(failure: Failure) -> Exception:
    kind = _ERRORS.get(failure.reason)
    if kind is not None:
        return kind(failure.text, advice=_ADVICE.get(failure.reason))
    _, _, name, text, traceback, head, buffers, _, code = failure
    error = failures.rebuild(name, text, traceback, head, buffers, code)
    if isinstance(error, BgpyError):
        error.remote = True  # the task's own doings: nothing about this connection
    return error
