"""What is said of a call that comes when Python has taken bgpy's modules down.

At its end Python empties the modules that something holds still, one after another: all names
in them mean None from then on. An object that lasts longer (as `sys.client = client` does, and on
3.13t all that modules hold, once a thread was started) may then be used by a ``__del__``, and
every function of bgpy's fails with ``'NoneType' object is not callable``. Nothing can be mended
there; but it can be said, by what needs no name of a module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bgpy.errors import Unreachable


def look_out() -> Callable[[], None]:
    """A function that raises `Unreachable` if a module of bgpy's that is loaded now was taken down.

    Keep it where it lasts: in a class, not in a module.
    """
    ours = [vars(module) for name, module in list(sys.modules.items()) if _is_ours(name)]
    # Made now, as it can't be made then.
    gone = Unreachable(
        "the interpreter is ending and has already taken bgpy's modules down",
        advice="make this call earlier, for example in a function registered with atexit",
        progress="not started",
    )
    return partial(_raise_if_taken_down, ours, gone)


def _raise_if_taken_down(modules: Sequence[dict[str, Any]], gone: Unreachable) -> None:
    for names in modules:
        if names.get("__name__") is None:
            raise gone.with_traceback(None) from None


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] == __name__.partition(".")[0]
