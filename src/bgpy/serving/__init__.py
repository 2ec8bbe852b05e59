"""Inside a server process.

::

    listener ─► session ─► requests ─► queue ─► worker ─► the engine
       ▲ bytes    │ wire                          │
    reactor ◄─────┴──────────── outbox ◄──────────┘

`io` has the sockets and the threads that poll them; `sessions` has one client each; `requests`
acts on their messages; `queue` keeps what waits; `worker` has it run by an engine; `outbox` is
where answers leave; `ending` says who ends the server; `core` puts them together.
"""
