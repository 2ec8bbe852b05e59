"""Tokens of servers elsewhere: private, one for each address."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bgpy.address import parse
from bgpy.errors import StartupError
from bgpy.state import claims
from bgpy.state.folders import below_machine
from bgpy.state.records import Record
from bgpy.state.tokens import (
    FoundToken,
    Source,
    find,
    for_server,
    keep_token,
    kept_token,
    known,
)

HERE = parse("box.example.org:5")
posix_only = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


def test_kept_token_is_found_under_each_spelling_of_its_address() -> None:
    """And under no other."""
    keep_token(HERE, "secret")
    assert kept_token(parse("Box.Example.ORG", 5)) == "secret"
    assert known(HERE) == FoundToken("secret", Source.KEPT)
    for other in ("box.example.org:6", "box:5", "unix:/box.example.org-5"):
        assert kept_token(parse(other)) is None


def test_kept_token_is_none_when_nothing_was_kept() -> None:
    """Looking makes no folders."""
    assert kept_token(HERE) is None
    assert not os.path.exists(os.environ["BGPY_HOME"])


@posix_only
def test_kept_token_is_private_and_replaced_whole() -> None:
    """Whatever the umask; a longer one before leaves nothing behind."""
    before = os.umask(0)
    try:
        path = Path(keep_token(HERE, "a longer one"))
        assert Path(keep_token(HERE, "short")) == path
    finally:
        os.umask(before)
    assert path.read_text() == "short"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert os.listdir(path.parent) == [path.name]


@posix_only
def test_kept_token_is_refused_when_others_could_have_put_it_there() -> None:
    """Neither read nor written."""
    keep_token(HERE, "secret")
    os.chmod(below_machine("tokens"), 0o770)
    for act in (lambda: kept_token(HERE), lambda: keep_token(HERE, "x"), lambda: known(HERE)):
        with pytest.raises(StartupError, match="chmod 700"):
            act()
    os.chmod(below_machine("tokens"), 0o700)
    assert kept_token(HERE) == "secret"


@posix_only
def test_kept_token_of_any_path_has_a_file_of_its_own() -> None:
    """Long paths, and such as look alike as file names."""
    addresses = [
        parse(f"unix:/{name}") for name in ("a/b", "a_b", "a=b", "a b", "x" * 100, "\udcff")
    ]
    for number, address in enumerate(addresses):
        keep_token(address, str(number))
    assert [kept_token(address) for address in addresses] == list(map(str, range(6)))


def test_find_takes_the_first_there_is_and_says_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The argument, BGPY_TOKEN, the one of a server that runs here, the one that was added."""
    here = parse("127.0.0.1:54321")
    monkeypatch.delenv("BGPY_TOKEN", raising=False)
    assert find(None, here) is None
    keep_token(here, "added")
    assert find(None, here) == FoundToken("added", Source.KEPT)
    claim = claims.claim(("0.0.0.0", 54321))
    try:
        claim.write(Record.of_this_process(("0.0.0.0", 54321), b"", "1"), "of the server")
        assert find(None, here) == FoundToken("of the server", Source.RECORD)
        monkeypatch.setenv("BGPY_TOKEN", "of the environment")
        assert find(None, here) == FoundToken("of the environment", Source.ENVIRONMENT)
        assert find("given", here) == FoundToken("given", Source.ARGUMENT)
    finally:
        claim.release()


def test_a_server_without_a_token_makes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes what was given or stands in the environment, and nobody else's."""
    monkeypatch.setenv("BGPY_TOKEN", "of the environment")
    assert for_server("given").source is Source.ARGUMENT
    assert for_server(None).source is Source.ENVIRONMENT
    monkeypatch.delenv("BGPY_TOKEN")
    made = for_server(None)
    assert (len(made.token), made.source) == (64, Source.MADE)


def test_a_found_token_shows_where_it_came_from_and_not_itself() -> None:
    """It may land in a log."""
    assert "secret" not in repr(FoundToken("secret", Source.KEPT))
