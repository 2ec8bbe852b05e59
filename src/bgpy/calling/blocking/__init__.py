"""The blocking shell: sockets, threads and time, moved into and out of the pure core.

::

    caller ─► channel ─► socket
      │          ├─ sender     requests leave whole, one after the other
      │          └─ waiting    a socket, with a deadline
      └─ connecting ─► dialling     from an address to a proved connection
"""
