"""What is said of a token that a server doesn't hold: above all that it was started anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgpy import AuthenticationError, Client, Server
from bgpy.address import parse
from bgpy.calling.blocking.refused import of_token, since_restart
from bgpy.errors import Advice
from bgpy.state import records
from bgpy.state.tokens import FoundToken, Source
from tests.support.tokens import token_for

ADDRESS = parse("127.0.0.1:54321")
PLAIN = AuthenticationError("the server doesn't hold it", advice="use another")


def test_client_with_a_copied_token_is_told_of_the_restart() -> None:
    """One that was connected before, a new one, and one that takes it from the environment."""
    first = Server("127.0.0.1", 0).run_background()
    address = first.address
    token = token_for(parse(address))
    before = Client(address, token=token)
    before.ping()
    first.kill()
    with Server(address).run_background():
        record = records.find(parse(address))
        assert record is not None
        with pytest.raises(AuthenticationError) as caught:
            before.ping()
        text = str(caught.value)
        assert "started anew since this client connected" in text
        assert f"was started at {record.started} and made a new token" in text
        assert caught.value.advice == Advice("give no token", "leave --token out")
        with pytest.raises(AuthenticationError, match="made a new token then") as caught:
            Client(address, token=token).ping()
        assert "anew since" not in str(caught.value)


@pytest.mark.parametrize("source", [Source.ARGUMENT, Source.ENVIRONMENT, Source.KEPT])
def test_who_cannot_see_the_server_is_told_how_a_token_stays(source: Source) -> None:
    """From another machine or account: a restart may be why."""
    error = of_token(ADDRESS, FoundToken("secret", source), PLAIN)
    assert source.value in error.problem
    assert "makes a new one at each start" in str(error.advice)
    assert f"'bgpy add {ADDRESS}' keeps it here" in str(error.advice)
    assert "BGPY_TOKEN" in str(error.advice)
    assert "secret" not in str(error)
    assert error.address == str(ADDRESS)


def test_client_without_a_token_is_told_as_before() -> None:
    """Nothing of restarts."""
    error = of_token(ADDRESS, None, PLAIN)
    assert (error.problem, error.advice) == (PLAIN.problem, PLAIN.advice)
    assert since_restart(PLAIN, ADDRESS, lambda incarnation: True) is PLAIN


@pytest.mark.parametrize("reason", ["another token", "no folder"])
def test_restart_is_told_only_where_it_is_known(
    reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same server refuses for other reasons, too."""
    with Server("127.0.0.1", 0).run_background() as handle:
        client = Client(handle.address)
        client.ping()
        client.close()
        with monkeypatch.context() as patch:
            if reason == "another token":
                patch.setenv("BGPY_TOKEN", "f" * 64)
            else:
                patch.setenv("BGPY_HOME", str(tmp_path))
            with pytest.raises(AuthenticationError) as caught:
                client.ping()
        assert "anew" not in str(caught.value)
        client.ping()
