"""Names, numbers and kinds of arguments that no method has."""

from __future__ import annotations

from types import MappingProxyType

from bgpy import Client, Handle, Limits, Server, respond, token_create
from bgpy.example.tasks import exec_task, exit_task, init_task

server = Server("127.0.0.1", prot=0)  # E: call-arg
server = Server("127.0.0.1", 0, "token", "INFO", None, None, Limits())  # E: call-arg
server = Server(port="54321")  # E: arg-type
server = Server(limits={"max_message": 1})  # E: arg-type
limits = Limits(max_mesage=1)  # E: call-arg
server.run_background(timeout=1)  # E: call-arg
handle: Handle = server.run()  # E: func-returns-value, assignment
handle.stop("soon")  # E: arg-type
client = Client()  # E: call-arg
client = Client("127.0.0.1", 54321, time_out=1)  # E: call-arg
client = Client("127.0.0.1", 54321, timeout="1")  # E: arg-type
client = Client(server)  # E: arg-type
client.initialize(init_task, exec_task)  # E: call-arg
client.initialize(init_task, exec_task, exit_task, 5.0)  # E: call-arg
client.initialize(init_task=init_task, exec_task=exec_task, end_task=exit_task)  # E: call-arg
client.call(5)  # E: arg-type
client.call(args=[1])  # E: arg-type
client.call(MappingProxyType({"a": 1}))  # E: arg-type
client.call(exec_args={})  # E: call-arg
client.call({}, 5.0)  # E: call-arg
client.submit()  # E: call-arg
client.execute({}, wait=True)  # E: call-overload
client.execute(args={})  # E: call-overload
client.execute(5)  # E: call-overload
client.execute({}, True, 5.0)  # E: call-overload
print(client.execute({})["message"].value)  # E: attr-defined
client.terminate(await_respone=True)  # E: call-overload
client.terminate(5)  # E: call-overload
client.terminate({"why": "done"}, "yes")  # E: call-overload
client.ping(5)  # E: call-arg
client.exec({})  # E: attr-defined
client.port = 54322  # E: misc
respond(client, 1)  # E: arg-type
token_create("16")  # E: arg-type
