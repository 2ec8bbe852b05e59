"""A counter that lives in a background process and answers any client with its token."""

import subprocess
import sys

from bgpy import Client, Server, respond


def init_task():
    return {"value": 1000}


def exec_task(client_socket, state, args):
    state["value"] += args["add"]
    respond(client_socket, {"value": state["value"]})
    return state


def exit_task(client_socket, state, args):
    respond(client_socket, {"last value": state["value"]})


if __name__ == "__main__":
    server = Server("127.0.0.1", 0)  # port 0: a free one, then told by server.port
    server.run_background()  # a process of its own, which outlives this script

    client = Client("127.0.0.1", server.port)
    print(client.initialize(init_task, exec_task, exit_task))
    print(client.execute({"add": 10}))  # returns as soon as it is queued
    print(client.call({"add": 5}))  # returns what the task responds

    print("another process uses the same state:", flush=True)
    code = f"import bgpy; print(bgpy.Client('127.0.0.1', {server.port}).call({{'add': 1}}))"
    subprocess.run([sys.executable, "-c", code], check=True)

    print(client.terminate(await_response=True))
