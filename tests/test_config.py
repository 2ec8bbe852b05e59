"""Limits: what can be one, and how the environment sets them."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

import bgpy
from bgpy import address
from bgpy.config import Limits
from bgpy.state import tokens

SECRET = "0123456789abcdef-this-is-secret-0123456789abcdef"

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_message": 0}, ValueError, "max_message must be from 1 to"),
    ({"max_message": -5}, ValueError, "max_message must be from 1 to"),
    ({"max_message": 2**70}, ValueError, "max_message must be from 1 to"),
    ({"max_requests": 1.5}, TypeError, "max_requests must be an integer, not float"),
    ({"max_requests": True}, TypeError, "max_requests must be an integer, not bool"),
    ({"max_half_open": None}, TypeError, "max_half_open must be an integer, not NoneType"),
    ({"handshake_timeout": -1}, ValueError, "handshake_timeout must be a number of seconds"),
    ({"stall_timeout": float("nan")}, ValueError, "stall_timeout must be a number of seconds"),
    ({"drain_timeout": "5"}, TypeError, "drain_timeout must be a number of seconds, not str"),
]


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_limits_refuse_what_can_be_none(
    given: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The user hears which one it is, before a server starts."""
    with pytest.raises(error, match=text):
        Limits(**given)


def test_limits_are_the_defaults_when_the_environment_sets_none() -> None:
    """An empty variable counts as none."""
    assert Limits.from_environment({"BGPY_MAX_MESSAGE": " ", "PATH": "/bin"}) == Limits()


@pytest.mark.parametrize("name", [each.name for each in fields(Limits)])
def test_limits_come_from_the_environment_when_it_sets_them(name: str) -> None:
    """Each has its variable, and keeps its kind."""
    limits = Limits.from_environment({f"BGPY_{name.upper()}": "77"})
    assert getattr(limits, name) == 77
    assert type(getattr(limits, name)) is type(getattr(Limits(), name))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("BGPY_MAX_MESSAGE", "2 GiB"),
        ("BGPY_MAX_MESSAGE", "0"),
        ("BGPY_MAX_MESSAGE", "1e9"),
        ("BGPY_STALL_TIMEOUT", "soon"),
        ("BGPY_STALL_TIMEOUT", "-1"),
        ("BGPY_STALL_TIMEOUT", "nan"),
    ],
)
def test_limits_name_the_variable_when_its_value_is_no_limit(variable: str, text: str) -> None:
    """With what it should be, and what to do."""
    with pytest.raises(ValueError, match=f"{variable} must be .*correct it, or unset it"):
        Limits.from_environment({variable: text})


def every_module() -> list[str]:
    """The names of all modules of the package that can be imported here."""
    found = pkgutil.walk_packages(bgpy.__path__, "bgpy.")
    return [each.name for each in found if not each.name.endswith("__main__")]


def test_no_default_and_no_help_shows_the_environment() -> None:
    """Not the token in it either: help, defaults, and whatever a class or module holds."""
    text = f"""
import importlib, inspect, os, pydoc
import bgpy
for name in {every_module()!r}:
    module = importlib.import_module(name)
    shown = pydoc.plain(pydoc.render_doc(module))
    for value in vars(module).values():
        if str(getattr(value, "__module__", "")).startswith("bgpy"):
            if inspect.isclass(value) or inspect.isroutine(value):
                shown += pydoc.plain(pydoc.render_doc(value))
            shown += repr(value)
    assert {SECRET!r} not in shown, name
"""
    environment = {**os.environ, "BGPY_TOKEN": SECRET, "ANOTHER_SECRET": SECRET}
    done = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_reprs_hide_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what users hold, and of what it holds."""
    monkeypatch.setenv("BGPY_TOKEN", SECRET)
    server = bgpy.Server("127.0.0.1", 0)
    client = bgpy.Client("127.0.0.1", 1)
    given = bgpy.Client("127.0.0.1", 1, SECRET)
    seen: set[int] = set()
    ahead: list[object] = [server, client, given, tokens.find(None, address.parse("127.0.0.1:1"))]
    while ahead:
        one = ahead.pop()
        if id(one) in seen or not type(one).__module__.startswith("bgpy"):
            continue
        seen.add(id(one))
        assert SECRET not in repr(one), type(one)
        ahead += getattr(one, "__dict__", {}).values()
        ahead += [getattr(one, name, None) for name in getattr(type(one), "__slots__", ())]
