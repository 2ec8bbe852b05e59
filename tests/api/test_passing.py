"""Clients that travel: copied, pickled, given to other processes and to tasks."""

from __future__ import annotations

import copy
import gc
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bgpy import AuthenticationError, Client, Handle, Server, respond
from bgpy.api.passing import Given, Left, Passed, found, pass_on, take
from tests.support.tasks.counting import TASKS, count

Start = Callable[..., tuple[Handle, Client]]
Running = tuple[Handle, Client]

SECRET = "a token that was given, and is long enough for a server"


class Named(Client):
    """A client of a program's own, with a constructor and an attribute of its own."""

    def __init__(self, place: str, name: list[str]) -> None:
        super().__init__(place, timeout=20.0, token=SECRET)
        self.name = name


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda client: pickle.loads(pickle.dumps(client))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_client_is_another_one_when_it_is_copied(
    start: Start, copied: Callable[[Client], Client]
) -> None:
    """With the same settings, and a connection of its own: closing one leaves the other."""
    handle, first = start(token=SECRET)
    first.initialize(*TASKS)
    named = Named(handle.address, ["a", "b"])
    second = copied(named)
    assert isinstance(second, Named)
    assert (second.name, second.address) == (named.name, named.address)
    assert (second._timeout, second._connect_timeout) == (20.0, 5.0)
    assert named.call({"run": count}) == 0
    assert second.call({"run": count}) == 1
    named.close()
    assert second.call({"run": count}) == 2


def test_pickle_of_a_client_holds_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the token came from."""
    monkeypatch.setenv("BGPY_TOKEN", f"{SECRET} of the environment")
    for client in (Client("127.0.0.1", 5, SECRET), Client("127.0.0.1", 5)):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            assert SECRET.encode() not in pickle.dumps(client, protocol)
            assert SECRET.encode() not in pickle.dumps(client.call, protocol)


READ = """
import json, pickle, sys
from bgpy import BgpyError
client = pickle.load(sys.stdin.buffer)
try:
    print(json.dumps(client.ping() >= 0))
except BgpyError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def _elsewhere(client: Client, **environment: str) -> Any:
    """What a process that shares nothing but the account makes of the client's pickle."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=pickle.dumps(client),
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def test_pickled_client_finds_its_token_elsewhere_where_there_is_one(start: Start) -> None:
    """That of the server's record, or of the environment; else the error says what to do."""
    handle = Server("127.0.0.1", 0).run_background()
    try:
        assert _elsewhere(Client(handle.address)) is True
    finally:
        handle.kill()
    handle, client = start(token=SECRET)
    assert _elsewhere(client, BGPY_TOKEN=SECRET) is True
    name, text = _elsewhere(client)
    assert name == "AuthenticationError"
    for part in (
        handle.address,
        "was unpickled without its token",
        "BGPY_TOKEN",
        f"bgpy add {handle.address}",
    ):
        assert part in text
    assert SECRET not in text


def test_client_arrives_without_its_token_when_its_process_has_gone(start: Start) -> None:
    """The key leads to a token as long as a client of this process has it."""
    _, client = start(token=SECRET)
    packed = pickle.dumps(client)
    other = Client(client.address, token=SECRET)
    lone = pickle.dumps(other)
    del other
    gc.collect()
    pickle.loads(packed).ping()
    with pytest.raises(AuthenticationError, match="was unpickled without its token"):
        pickle.loads(lone).ping()


def test_pickle_of_a_server_holds_no_token() -> None:
    """Neither does that of its handle; in the process that has the token, both have it again."""
    server = Server("127.0.0.1", 0, token=SECRET)
    with server.run_background() as handle:
        for each in (server, handle):
            packed = pickle.dumps(each)
            assert SECRET.encode() not in packed
            assert repr(pickle.loads(packed)) == repr(each)
        assert pickle.loads(pickle.dumps(server)).token == copy.copy(server).token == SECRET
        assert pickle.loads(pickle.dumps(handle)).stop(60)


ELSEWHERE = """
import pickle, sys, traceback
server, handle = pickle.load(sys.stdin.buffer)
for call in (lambda: server.token, server.run_background):
    try:
        call()
    except PermissionError as caught:
        error = caught
        print(error)
assert len(traceback.extract_tb(error.__traceback__)) == 1
print(handle.stop(60))
"""


def test_server_that_was_unpickled_elsewhere_has_no_token_and_its_handle_finds_it() -> None:
    """It is kept for this account's clients as long as the server runs."""
    server = Server("127.0.0.1", 0)
    with server.run_background() as handle:
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            input=pickle.dumps((server, handle)),
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
    told = done.stdout.decode().splitlines()
    assert told[2] == "True"
    assert told[0] == told[1]
    assert "this Server on 127.0.0.1" in told[0]
    assert "was unpickled without its token" in told[0]


THERE_AND_BACK = """
import copy, pickle, sys
from bgpy import BgpyError
client = pickle.load(sys.stdin.buffer)
made = [client, copy.copy(client), copy.deepcopy(client), pickle.loads(pickle.dumps(client))]
texts = []
for each in made:
    try:
        each.ping()
    except BgpyError as error:
        texts.append(str(error))
pickle.dump((texts, made), sys.stdout.buffer)
"""


def test_client_without_its_token_knows_that_and_finds_it_at_home(start: Start) -> None:
    """Also when it is copied or pickled where it hasn't its token."""
    _, client = start(token=SECRET)
    run = [sys.executable, "-c", THERE_AND_BACK]
    done = subprocess.run(
        run, input=pickle.dumps(client), stdout=subprocess.PIPE, check=True, timeout=60
    )
    assert SECRET.encode() not in done.stdout
    texts, made = pickle.loads(done.stdout)
    assert len(texts) == 4
    for text in texts:
        assert "was unpickled without its token" in text
    for each in made:
        assert each.ping() > 0
        assert copy.copy(each).ping() > 0


def test_client_without_its_token_finds_it_when_that_comes_later() -> None:
    """As with the initialiser of a pool, behind what waits in its queue."""
    lone = Client("127.0.0.1", 5, SECRET)
    key = lone.__reduce__()[1][2].key
    first = Left(key)
    del lone
    gc.collect()
    assert found(first) == first
    assert take(pass_on(first)) == first
    given = take(Passed(key, SECRET))
    assert isinstance(given, Given)
    assert given.token == SECRET
    assert found(first) is given
    assert take(pass_on(first)) is given


POOLS = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from bgpy import Client
from tests.support.tasks.counting import count

kept = []

def keep(client):
    kept.append(client)

def count_kept(_):
    return kept[0].call({"run": count}, timeout=20)

def count_with(client):
    return client.call({"run": count}, timeout=20)

if __name__ == "__main__":
    address, token, method = sys.argv[1:]
    client = Client(address, token=token)
    context = multiprocessing.get_context(method)
    process = context.Process(target=client.call, args=({"run": count},))
    process.start()
    process.join(60)
    with ProcessPoolExecutor(1, context, initializer=keep, initargs=(client,)) as pool:
        print(process.exitcode, *pool.map(count_kept, [0]), *pool.map(count_with, [client]))
"""


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_client_works_in_processes_of_multiprocessing(
    start: Start, script: Callable[..., subprocess.Popen[str]], method: str
) -> None:
    """As an argument of a process, of a pool's initializer, and of a pool's calls after that."""
    _, client = start(token=SECRET)
    client.initialize(*TASKS)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    process = script(POOLS, client.address, SECRET, method, env=environment)
    printed, errors = process.communicate(timeout=120)
    assert printed == "0 1 2\n", errors


def test_task_gets_a_client_of_another_server(start: Start) -> None:
    """In arguments, in what a closure holds, and in a response."""
    _, first = start()
    handle = Server("127.0.0.1", 0).run_background()
    try:
        second = Client(handle.address)
        second.initialize(*TASKS)

        def execute(client_socket: Any, state: Any, args: dict[str, Any]) -> None:
            numbers = [args["client"].call({"run": count}), second.call({"run": count})]
            respond(client_socket, (numbers, args["client"]))

        first.initialize(lambda: None, execute, lambda socket, state, args: None)
        numbers, returned = first.call({"client": second})
        assert numbers == [0, 1]
        assert returned.call({"run": count}) == 2
    finally:
        handle.kill()


def test_deep_copy_of_a_client_that_leads_back_to_itself_is_one(start: Start) -> None:
    """By what a subclass has added."""

    class Own(Client):
        pass

    handle, _ = start()
    with Own(handle.address) as client:
        client.me = [client]  # type: ignore[attr-defined]
        made = copy.deepcopy(client)
        assert made.me == [made]  # type: ignore[attr-defined]
        assert made.me[0] is made  # type: ignore[attr-defined]
