"""The client's side: one core for the correlation of calls, and the blocking shell.

::

    Caller ─► Channel ─► socket
      │          └─ Calls: request id ─► the answer somebody waits for
      └─ connects, reconnects, notices restarts

`connecting` makes a channel, `answers` turns what came back into values and
exceptions, `liveness` tells whether the server's process is gone.
"""
