"""0.3.1's readme, with its annotations and import paths."""

from bgpy import Client, Server, token_create
from bgpy.core.sockets import ClientSocket
from bgpy.server import respond


def init_task(client_socket: ClientSocket) -> dict:  # type: ignore[type-arg]
    init_args = {"request_count": 0, "value": 1000}
    return init_args


def exec_task(client_socket: ClientSocket, init_args: dict, exec_args: dict) -> dict:  # type: ignore[type-arg]
    init_args["request_count"] += 1
    if exec_args["command"] == "increase":
        init_args["value"] += exec_args["value_change"]
    return init_args


def exit_task(client_socket: ClientSocket, init_args: dict, exit_args: dict) -> None:  # type: ignore[type-arg]
    init_args["status"] = "Exited."
    respond(client_socket, init_args)
    return None


if __name__ == "__main__":
    TOKEN = token_create()
    server = Server(host="127.0.0.1", port=0, token=TOKEN)
    server.run_background()
    client = Client(host="127.0.0.1", port=server.port, token=TOKEN)
    response = client.initialize(init_task, exec_task, exit_task)
    response = client.execute({"command": "increase", "value_change": 10})
    response = client.terminate(await_response=True)
    print(response["value"], response["status"])
