"""The blocking shell: sockets, threads and time, moved into and out of the pure core.

::

    caller ─┬─ submitting ─ futures    calls that nobody waits for at once
            │      ├─ finishers        the threads that tell of them, and call back
            │      ├─ sender           the thread that sends what stayed behind
            │      ├─ apart            over connections of their own, where no thread can be had
            │      └─ posted           what was submitted, until a connection has taken it
            └─ access                  the shared connection, or one of its own
                 ├─ connector ─► connecting ─► dialling ─► racing    from address to proof
                 └─ channel            calls over a connection
                      ├─ shortcut      its short roads, for small calls
                      ├─ sent          what becomes of a call that was sent
                      ├─ reading       what comes over it
                      │    ├─ turns        whose turn it is to read
                      │    └─ standby      the thread that reads where none that waits does
                      └─ link          what leaves, and the end; `reading` stands on it too
                           └─ send_queue   requests leave whole, one after another

    helper     a thread that is rung, works and rests: finishers, sender, standby
    shared     what the connections of one client have in common
    program    forks, and the program's end
    threads    how threads are started; which are inside of a client
    waiting    a socket, with a deadline
"""
