"""A start on a full disk, or one without inodes, says what to do, whatever it was about to write.

No disk is filled here: the system's refusal is made at each place.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from bgpy.address import parse
from bgpy.api import server
from bgpy.errors import StartupError
from bgpy.process import launch, logs
from bgpy.serving.io import listener
from bgpy.state import folders
from bgpy.system import files, locks


def _certificate(place: Path) -> object:
    certificates = pytest.importorskip("bgpy.tls.certificates")
    return certificates.own(str(place))


PLACES: dict[str, tuple[Callable[[Path], object], Any, str]] = {
    "state folder": (
        lambda place: folders.make_private(folders.below_machine("servers", "new")),
        os,
        "mkdir",
    ),
    "lock": (lambda place: locks.open_lock(str(place / "lock")), os, "open"),
    "record or token": (lambda place: files.replace(str(place / "token"), "token"), os, "open"),
    "log": (lambda place: logs.open_log(str(place / "log")), os, "open"),
    "folder of a log": (lambda place: logs.open_log(str(place / "new" / "log")), os, "mkdir"),
    "log in the foreground": (
        lambda place: server._file_handler(str(place / "log")),
        logs.LogFile,
        "__init__",
    ),
    "socket's folder": (
        lambda place: listener.listen(parse(f"unix:{place}/new/socket")),
        os,
        "mkdir",
    ),
    "socket": (lambda place: listener.listen(parse(f"unix:{place}/s")), listener.unix, "bind"),
    "first output": (lambda place: launch._early_output(), tempfile, "TemporaryFile"),
    "certificate": (_certificate, os, "open"),
}
"""What a start writes, how, and what the system is asked by."""


@pytest.mark.parametrize("number", [errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)])
@pytest.mark.parametrize("what", PLACES)
def test_start_on_a_full_disk_says_to_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, number: int
) -> None:
    """And not to choose another place, or nothing at all."""
    if what.startswith("socket") and sys.platform == "win32":
        pytest.skip("there are no Unix sockets")
    write, module, name = PLACES[what]

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(module, name, refused)
        with pytest.raises(StartupError) as caught:
            write(tmp_path)
    assert str(caught.value.advice) == "make room on that disk"
