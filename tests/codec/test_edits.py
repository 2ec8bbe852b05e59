"""Which modules were edited since a server loaded them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bgpy.codec.edits import edited, stamps
from bgpy.codec.loaded import ModuleSource


def _told(path: Path, text: str = "x = 1\n", **more: Any) -> Any:
    """What a record tells of a module, after the way through a file."""
    path.write_text(text, newline="\n")
    source = ModuleSource("mine", text.encode(), str(path), False, **more)
    return json.loads(json.dumps(stamps([source])))


def test_module_is_edited_when_its_file_holds_something_else(tmp_path: Path) -> None:
    """Also another one with the old time and size; the time alone is no edit."""
    path = tmp_path / "mine.py"
    told = _told(path)
    assert edited(told) == []
    os.utime(path, (1, 1))
    assert edited(told) == []
    path.write_text("x = 2\n", newline="\n")
    assert edited(told) == ["mine"]
    told = _told(path)
    status = path.stat()
    (tmp_path / "new").write_text("x = 3\n", newline="\n")
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(tmp_path / "new", path)
    assert edited(told) == ["mine"]


@pytest.mark.parametrize("lost", [{"edited": True}, {"code": b"c" * 20}])
def test_module_is_edited_when_its_file_was_before_the_server_looked(
    tmp_path: Path, lost: dict[str, Any]
) -> None:
    """What was loaded is none of the file's versions."""
    assert edited(_told(tmp_path / "mine.py", **lost)) == ["mine"]


def test_files_that_are_gone_are_no_edits(tmp_path: Path) -> None:
    """Nor is what another version has written, or a module without a file here."""
    path = tmp_path / "mine.py"
    told = _told(path)
    path.unlink()
    assert edited(told) == []
    odd: list[Any] = [["only a name"], [], 5, None, "text!"]
    odd += [["f", "v", "c", 1, 2, "3"], ["\0", "v", "c", 1, 2, 3], ["f", "v", 1, 2, 3]]
    assert edited(dict(zip("abcdefgh", odd, strict=True))) == []
    assert stamps([ModuleSource("mine", b"", "<\0>", False)]) == {}
    assert stamps([ModuleSource("mine", b"", str(path), False)]) == {}


def test_comments_and_moved_lines_are_no_edits(tmp_path: Path) -> None:
    """What runs is the same; a text that is no Python any more is an edit."""
    path = tmp_path / "mine.py"
    told = _told(path, "def f():\n    return 1\n")
    path.write_text("# new\n\n\ndef f():  # here\n    return (1)\n", newline="\n")
    assert edited(told) == []
    path.write_text("def f(:\n", newline="\n")
    assert edited(told) == ["mine"]
