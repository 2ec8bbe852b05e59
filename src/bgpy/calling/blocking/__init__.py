"""The blocking shell: sockets, threads and time, moved into and out of the pure core.

::

    caller ─► channel ─► socket
      │          ├─ outbox     requests leave whole, one after the other
      │          ├─ turns      whose turn it is to read
      │          └─ waiting    a socket, with a deadline
      ├─ sender, futures       calls that nobody waits for
      └─ connector ─► connecting ─► dialling     from an address to a proved connection
"""
