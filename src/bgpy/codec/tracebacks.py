"""What people see of an exception: their own frames, and none of bgpy's.

::

    the user's frame                 the user's frame
    frames of bgpy          ──►      (an error of bgpy's ends here)
    frames of user code              frames of user code, below ours: a task's, a `__reduce__`'s

What was caught on the way, within bgpy, stays as a cause if it says something (such as the error of
a socket), without frames; exceptions that never leave bgpy are left out of the chain. An exception
that isn't bgpy's, nor came from a task, is left alone: if it is a mistake in bgpy, the frames tell.
"""

from __future__ import annotations

import os
from types import FrameType, TracebackType

from bgpy.codec.exceptions import set_past
from bgpy.codec.failures import RemoteTraceback
from bgpy.errors import BgpyError, CallTimeout

_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = ("site-packages", "dist-packages")


def tidy(error: BaseException) -> None:
    """Strip `error` of bgpy's own frames, if it is one that bgpy means its callers to see.

    Call it in an ``except`` clause of a public method and raise with a bare ``raise``, which adds
    no frame of that method.
    """
    if isinstance(error, BgpyError) or remote_text(error):
        strip(error)


def strip(error: BaseException) -> None:
    """Take bgpy's frames out of `error`, and out of what it names as causes and contexts."""
    set_past(error, "__traceback__", without_ours(error.__traceback__))
    if isinstance(error, BgpyError) and error.remote:
        return  # all else is the task's
    seen = {id(error)}
    while (past := _past(error)) is not None and id(past) not in seen:
        seen.add(id(past))
        left = without_ours(past.__traceback__)
        set_past(past, "__traceback__", left if _has_users(left) else None)
        error = past


def _past(error: BaseException) -> BaseException | None:
    """What is shown above `error`: its cause, or what the user's code was handling."""
    cause = error.__cause__
    if cause is not None and not _is_internal(cause) and not isinstance(error, CallTimeout):
        return cause
    if cause is not None:
        set_past(error, "__cause__", None)
        set_past(error, "__suppress_context__", False)
    if error.__suppress_context__:
        return None
    context = _first_of_users(error.__context__)
    set_past(error, "__context__", context)
    return context


def without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """That traceback without the frames of bgpy, and those of imports below them."""
    kept: list[TracebackType] = []
    while traceback is not None:
        if not _is_ours(traceback.tb_frame):
            kept.append(traceback)
        traceback = traceback.tb_next
    following: TracebackType | None = None
    for each in reversed(kept):
        following = TracebackType(following, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return following


def remote_text(error: BaseException) -> str:
    """The traceback of the task that raised `error`; empty if none did."""
    texts = [each.text for each in _causes(error) if isinstance(each, RemoteTraceback)]
    return texts[0] if texts else ""


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    following = error.__cause__
    while following is not None and following not in causes:
        causes.append(following)
        following = following.__cause__
    return causes


def _is_internal(error: BaseException) -> bool:
    """Whether it is an exception that never leaves bgpy."""
    public = isinstance(error, (BgpyError, RemoteTraceback))
    return type(error).__module__.startswith("bgpy.") and not public


def _first_of_users(error: BaseException | None) -> BaseException | None:
    """The first of a chain of contexts that the user's code was handling, not bgpy."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        if not _is_internal(error) and _has_users(without_ours(error.__traceback__)):
            return error
        seen.append(error)
        error = error.__cause__ or error.__context__
    return None


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    if module.partition(".")[0] == "importlib" or "<frozen importlib" in frame.f_code.co_filename:
        return True
    return module.startswith("bgpy.") and not module.startswith("bgpy.example")


def _has_users(traceback: TracebackType | None) -> bool:
    """Whether any frame is of neither the standard library nor of what pickles."""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        standard = file.startswith(_STANDARD) and not any(part in file for part in _INSTALLED)
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if not standard and not module.startswith("cloudpickle"):
            return True
        traceback = traceback.tb_next
    return False
