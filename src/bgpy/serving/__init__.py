"""Inside a server process.

::

    listener ─► session ─► jobs ─► runner ─► tasks
       ▲ bytes    │ wire              │
    reactor ◄─────┴──── outbox ◄──────┘

`reactor` polls, on whichever thread has the role (`role`); `session` is one client;
`jobs` keeps what waits; `runner` runs it; `outbox` is where replies leave;
`server` puts them together.
"""
