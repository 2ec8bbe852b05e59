"""Truths of a server whose tasks leave raising signal handlers behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bgpy import Client, Handle, respond

Start = Callable[..., tuple[Handle, Client]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX timers")


def _init(client_socket: Any) -> dict[str, Any]:
    import random
    import signal

    class Strike(BaseException):
        pass

    def strike(*_: Any) -> None:
        if random.random() < 0.5:
            raise Strike("struck")
        raise LookupError("struck")

    signal.signal(signal.SIGALRM, strike)
    return {"ran": {}}


def _exec(client_socket: Any, state: Any, args: Any) -> Any:
    import signal

    if "timer" in args:
        signal.setitimer(signal.ITIMER_REAL, args["timer"], args["timer"])
    else:
        state["ran"][args["n"]] = state["ran"].get(args["n"], 0) + 1
    respond(client_socket, args.get("n", state["ran"]))


def _exit(client_socket: Any, state: Any, args: Any) -> None:
    respond(client_socket, state["ran"])


def test_server_answers_each_call_and_ends_when_asked_while_a_timer_strikes_it(
    start: Start,
) -> None:
    """In a value or in what the handler raised; nothing runs twice; an idle server stays."""
    handle, client = start()
    client.initialize(_init, _exec, _exit)
    client.call({"timer": 0.0007})

    def call(n: int) -> bool:
        try:
            return client.call({"n": n}, timeout=60) == n
        except Exception as error:
            if "struck" not in str(error):
                raise
            return False

    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(call, range(1500)))
    assert any(ends)
    while True:
        try:
            client.call({"timer": 0}, timeout=60)
        except Exception as error:
            if "struck" not in str(error):
                raise
        else:
            break
    ran = client.terminate(await_response=True)
    assert max(ran.values()) == 1
    assert {n for n, well in enumerate(ends) if well} <= ran.keys()
    assert handle.wait(30)


def _idle_init() -> None: ...


def _arm(client_socket: Any, state: Any, args: Any) -> None:
    import signal
    import time

    def strike(*_: Any) -> None:
        raise args["raise"]

    if "raise" in args:
        signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    else:
        time.sleep(0)
    respond(client_socket, "armed")


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), ValueError()])
def test_idle_server_goes_on_whatever_a_handler_raises(start: Start, raised: Any) -> None:
    """Whoever wants to end it has SIGTERM and `terminate`."""
    handle, client = start()
    client.initialize(_idle_init, _arm, _exit)
    client.call({"raise": raised})
    assert handle.wait(0.3) is False  # longer than the timer, which strikes once
    assert client.call({}) == "armed"
    handle.kill()
