"""Futures: many calls under way at once, over one connection."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, as_completed, wait
from subprocess import Popen
from typing import ClassVar

import psutil
import pytest

from bgpy import (
    Client,
    EncodeError,
    Handle,
    NotInitialized,
    NotRunning,
    RemoteError,
    ServerGone,
    respond,
)
from tests.support.gate import Gate, pass_gate
from tests.support.peers import wait_until


def init() -> list[int]:
    return []


def execute(client_socket: object, state: list[int], args: dict[str, object]) -> list[int]:
    if "gate" in args:
        pass_gate(args["gate"])
    if "raise" in args:
        raise args["raise"]
    if "end" in args:
        next(iter(()))
    if "fail" in args:
        raise ArithmeticError(args["fail"])
    state.append(args.get("number", -1))
    respond(client_socket, {"number": args.get("number"), "state": len(state)})
    return state


def leave(client_socket: object, state: list[int], args: dict[str, object]) -> None:
    respond(client_socket, state)


@pytest.fixture
def client(start: Callable[..., tuple[Handle, Client]]) -> Client:
    """A client of an initialised server."""
    _, client = start()
    client.initialize(init, execute, leave)
    return client


def test_futures_give_their_responses_in_order_when_many_are_submitted(client: Client) -> None:
    """Each future gets the response of its own call, and the calls run in their order."""
    futures = [client.submit({"number": number}) for number in range(2000)]
    answers = [future.result(60) for future in futures]
    assert [answer["number"] for answer in answers] == list(range(2000))
    assert [answer["state"] for answer in answers] == list(range(1, 2001))


@pytest.mark.parametrize("size", [0, 2**12, 2**22])
def test_first_future_has_its_whole_request_when_it_is_large(client: Client, size: int) -> None:
    """Whether anything is under way before it decides how it leaves, not that all of it does."""
    futures = [client.submit({"number": n, "data": b"x" * size}) for n in range(3)]
    assert [future.result(60)["state"] for future in futures] == [1, 2, 3]
    assert client.call({})["state"] == 4


def test_future_raises_what_the_task_raises(client: Client) -> None:
    """A failure ends its own future; the others go on."""
    first, second, third = (client.submit(args) for args in ({}, {"fail": "no"}, {}))
    assert first.result(60)["state"] == 1
    with pytest.raises(ArithmeticError, match="no"):
        second.result(60)
    assert third.result(60)["state"] == 2


def test_futures_complete_when_nobody_waits(client: Client) -> None:
    """A callback is called although no thread of the program waits for an answer."""
    called = threading.Event()
    client.submit({}).add_done_callback(lambda future: called.set())
    assert called.wait(60)


def test_callback_may_call_the_server_when_its_future_is_done(client: Client) -> None:
    """A blocking call inside a callback is answered, though the callback's thread reads."""
    results: list[object] = []
    called = threading.Event()

    def call_again(future: object) -> None:
        results.append(client.call({"number": 7}))
        called.set()

    client.submit({"number": 6}).add_done_callback(call_again)
    assert called.wait(60)
    assert results == [{"number": 7, "state": 2}]


def test_blocking_calls_and_futures_share_a_connection(client: Client) -> None:
    """Threads that wait and futures that nobody waits for don't disturb each other."""
    failures: list[BaseException] = []

    def call() -> None:
        try:
            for number in range(100):
                assert client.call({"number": number})["number"] == number
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    futures = [client.submit({"number": number}) for number in range(400)]
    for thread in threads:
        thread.join(60)
    assert not failures
    assert [future.result(60)["number"] for future in futures] == list(range(400))


def test_submit_returns_when_a_task_runs(client: Client, gate: Gate) -> None:
    """Submitting doesn't wait for the calls before."""
    first = client.submit({"gate": gate.place})
    others = [client.submit({"number": number}) for number in range(10)]
    gate.wait()
    assert not any(future.done() for future in (first, *others))
    gate.open()
    assert not wait((first, *others), 60).not_done


def test_futures_raise_server_gone_when_the_server_is_killed(
    start: Callable[..., tuple[Handle, Client]], gate: Gate
) -> None:
    """Every future ends, with what is known of its call."""
    handle, client = start()
    client.initialize(init, execute, leave)
    futures = [client.submit({"gate": gate.place}), client.submit({})]
    gate.wait()
    handle.kill()
    for future in futures:
        with pytest.raises(ServerGone) as caught:
            future.result(60)
        assert caught.value.progress == "unknown"


def test_submit_raises_when_nothing_could_be_sent(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """What is wrong with the arguments is raised at once; where there is no server the future
    says so, since connecting takes its time."""
    handle, client = start()
    with pytest.raises(TypeError, match="must be a dict"):
        client.submit("no dict")  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match=r"args\['lock'\]"):
        client.submit({"lock": threading.Lock()})
    with pytest.raises(NotInitialized):
        client.submit({}).result(60)
    handle.kill()
    with pytest.raises(NotRunning):
        Client("127.0.0.1", handle.port, "t" * 32).submit({}).result(60)


@pytest.mark.parametrize("timeout", [None, 3600.0])
def test_channel_is_collected_when_its_client_is_forgotten(
    start: Callable[..., tuple[Handle, Client]], timeout: float | None
) -> None:
    """The daemon threads keep neither connection nor themselves alive once nothing is under way,
    nor does the deadline of a call that is done."""
    handle, first = start()
    first.initialize(init, execute, leave)
    before = threads()
    client = Client("127.0.0.1", handle.port)
    client.submit({}, timeout=timeout).result(60)
    channel = weakref.ref(client._caller.channel)
    del client

    def is_collected() -> bool:
        gc.collect()  # again: the thread that sends may just have had hold of it
        return channel() is None

    wait_until(is_collected, "the channel is collected")
    wait_until(lambda: threads() <= before, "its threads have ended")


def threads() -> int:
    """How many threads this process has, however they were started."""
    return psutil.Process().num_threads()


SUBMITS_AND_ENDS = """
import sys
from bgpy import Client
client = Client("127.0.0.1", int(sys.argv[1]), {token!r})
for number in range(300):
    client.submit({{"number": number}})
{end}
"""


@pytest.mark.parametrize("end", ["", "client.close()"])
def test_submitted_requests_have_left_when_the_program_ends(
    start: Callable[..., tuple[Handle, Client]], script: Callable[..., Popen[str]], end: str
) -> None:
    """What is gathered when a client is closed or the interpreter ends still leaves."""
    token = "t" * 32
    handle, client = start(token=token)
    client.initialize(init, execute, leave)
    program = script(SUBMITS_AND_ENDS.format(token=token, end=end), handle.port)
    _, errors = program.communicate(timeout=60)
    assert (program.returncode, errors) == (0, "")
    # Clients are served in turn: after as many calls of this one all of the other's have run.
    assert [client.call({})["state"] for _ in range(400)][-1] == 700


def test_future_ends_when_its_client_is_forgotten_at_once(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """The connection lives until what was submitted has been answered."""
    handle, first = start(token="t" * 32)
    first.initialize(init, execute, leave)
    client = Client(handle.host, handle.port, "t" * 32)
    client.submit({}).result(60)
    future = client.submit({})
    del client
    gc.collect()
    assert future.result(60)["state"] == 2


def test_slow_callback_keeps_no_call_from_its_answer(client: Client, gate: Gate) -> None:
    """Callbacks have a thread of their own, and run in it one after another."""
    go_on, order = threading.Event(), []
    names: set[int] = set()

    def called(number: int) -> None:
        go_on.wait(60)
        order.append(number)
        names.add(threading.get_ident())

    # None is done before it has its callback, which would run here.
    futures = [client.submit({"number": 0, "gate": gate.place})]
    futures += [client.submit({"number": number}) for number in (1, 2)]
    gate.wait()
    for number, future in enumerate(futures):
        future.add_done_callback(lambda future, number=number: called(number))
    gate.open()
    assert client.submit({"number": 7}).result(20)["number"] == 7
    assert client.call({"number": 8}, timeout=20)["number"] == 8
    go_on.set()
    wait_until(lambda: len(order) == 3, "all were called")
    assert sorted(order) == [0, 1, 2]


class Noticed:
    """Tells in which thread it was unpickled."""

    made: ClassVar[list[int]] = []

    def __setstate__(self, state: object) -> None:
        self.made.append(threading.get_ident())

    def __getstate__(self) -> object:
        return {"a": 1}


def test_value_is_made_by_the_thread_that_wants_it(
    start: Callable[..., tuple[Handle, Client]],
) -> None:
    """And once: all that ask get the same object."""
    _, client = start()
    client.initialize(init, lambda socket, state, args: respond(socket, args["it"]), leave)
    Noticed.made.clear()
    future = client.submit({"it": Noticed()})
    assert not wait([future], 20).not_done
    assert Noticed.made == []
    assert future.result() is future.result()
    assert Noticed.made == [threading.get_ident()]


def test_futures_work_with_what_python_has_for_them(client: Client) -> None:
    """`as_completed`, `wait`, and asyncio."""
    assert len(list(as_completed([client.submit({}) for _ in range(20)], 20))) == 20

    async def ask() -> object:
        return await asyncio.wait_for(asyncio.wrap_future(client.submit({"number": 1})), 20)

    assert asyncio.run(ask()) == {"number": 1, "state": 21}


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ({"end": True}, "StopIteration"),
        ({"raise": StopAsyncIteration(1)}, "StopAsyncIteration"),
        ({"raise": CancelledError("inner")}, "concurrent.futures._base.CancelledError"),
        ({"raise": asyncio.CancelledError("inner")}, "asyncio.exceptions.CancelledError"),
    ],
)
def test_asyncio_gets_the_failure_when_it_would_end_or_cancel_something(
    client: Client, args: dict[str, object], name: str
) -> None:
    """The wait ends, nobody is cancelled, and no failure is lost in a group of tasks."""

    async def ask() -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:

            async def one() -> None:
                await asyncio.wrap_future(client.submit(args))

            group.create_task(one())

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(ask())
    with pytest.raises(RemoteError) as called:
        client.call(args)
    for error in (caught.value.exceptions[0], called.value):
        assert isinstance(error, RemoteError)
        assert error.type_name == name
    future = client.submit({})
    assert not future.cancel()
    assert future.exception(20) is None
    assert future.done()
