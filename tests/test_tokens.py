"""Tests of making and keeping tokens."""

from __future__ import annotations

import os
import string
from typing import Any

import pytest

from bgpy.state import tokens

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX's")


@pytest.mark.parametrize("length", [1, 2, 31, 64, 65])
def test_create_gives_hexadecimal_when_asked_for_any_length(length: int) -> None:
    """A token has exactly the characters asked for."""
    token = tokens.create(length)
    assert len(token) == length
    assert set(token) <= set(string.hexdigits)


def test_create_gives_another_token_when_called_again() -> None:
    """No two tokens are the same."""
    assert len({tokens.create() for _ in range(100)}) == 100


@pytest.mark.parametrize("length", [0, -1])
def test_create_advises_when_length_is_too_small(length: int) -> None:
    """A token without characters is refused, naming the advised length."""
    with pytest.raises(ValueError, match="32"):
        tokens.create(length)


@pytest.mark.parametrize("length", [None, "64", 6.4, True])
def test_create_raises_when_length_is_no_integer(length: Any) -> None:
    """A length of another type is refused."""
    with pytest.raises(TypeError):
        tokens.create(length)


def test_environment_gives_token_when_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """BGPY_TOKEN is set, read and removed; an empty one is none."""
    monkeypatch.setenv("BGPY_TOKEN", "")
    assert tokens.from_environment() is None
    tokens.set_environment("secret")
    assert os.environ["BGPY_TOKEN"] == tokens.from_environment() == "secret"
    tokens.remove_environment()
    tokens.remove_environment()
    assert tokens.from_environment() is None
