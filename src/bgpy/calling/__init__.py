"""The client's side: a pure core that decides, and shells that move its bytes and time.

::

    Caller ─► Channel ─► socket
      │          └─ Conversation: which answer belongs to which call
      └─ Acquaintance: restarts of the server, and who has been notified

`terms` says which way a call goes and whether it may be sent; `results` turns what came back
into values and exceptions, `liveness` tells whether the server's process is gone.
"""
