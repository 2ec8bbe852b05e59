"""What people see of an exception: their own frames, and none of bgpy's.

::

    the user's frame                 the user's frame
    frames of bgpy          ──►      (an error of bgpy's ends here)
    frames of user code              frames of user code, below ours: a task's, a `__reduce__`'s

What was caught on the way, within bgpy, such as the error of a socket, is shown if the user's code
raised it; else the text of bgpy's error tells of it, and it stays as ``__context__``, unseen.
Ctrl-C shows where the user's code waited. An exception that is neither, nor came from a task, is
left alone: if it is a mistake in bgpy, the frames tell.
"""

from __future__ import annotations

import os
from types import FrameType, TracebackType

from bgpy.codec.exceptions import set_past
from bgpy.codec.failures import RemoteTraceback
from bgpy.errors import BgpyError
from bgpy.system.ours import is_ours

_STANDARD = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED = ("site-packages", "dist-packages")


def tidy(error: BaseException) -> None:
    """Strip `error` of bgpy's own frames, if it is one that bgpy means its callers to see.

    Call it in an ``except`` clause of a public method and raise with a bare ``raise``, which adds
    no frame of that method.
    """
    if isinstance(error, (BgpyError, KeyboardInterrupt)) or remote_text(error):
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


def shows_users(error: BgpyError) -> bool:
    """Whether one that was stripped shows more than its text: a frame or an error of the user's."""
    past = error.__cause__ is not None or not error.__suppress_context__
    return past or _has_users(error.__traceback__)


def _past(error: BaseException) -> BaseException | None:
    """What is shown above `error`: its cause, or what the user's code was handling."""
    cause = error.__cause__
    if cause is not None and (not isinstance(error, BgpyError) or _is_telling(cause)):
        return cause
    if cause is None and error.__suppress_context__:
        return None
    context = _first_of_users(error.__context__)
    set_past(error, "__cause__", None)
    # What bgpy caught stays where a program finds it; the text of the error tells of it.
    set_past(error, "__context__", cause if context is None else context)
    set_past(error, "__suppress_context__", context is None)
    return context


def _is_telling(cause: BaseException) -> bool:
    """Whether a cause of an error of bgpy's says more than that error."""
    return isinstance(cause, RemoteTraceback) or _has_users(without_ours(cause.__traceback__))


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
    seen: set[int] = set()  # not the exceptions, whose own `__eq__` would be asked
    following = error.__cause__
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        causes.append(following)
        following = following.__cause__
    return causes


def _first_of_users(error: BaseException | None) -> BaseException | None:
    """The first of a chain of contexts that the user's code was handling, not bgpy."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if _has_users(without_ours(error.__traceback__)):
            return error
        seen.add(id(error))
        error = error.__context__ if error.__cause__ is None else error.__cause__
    return None


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    if module.partition(".")[0] == "importlib" or "<frozen importlib" in frame.f_code.co_filename:
        return True
    return is_ours(module)


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
