"""Starting a server as a process of its own, and holding on to it.

::

    launch      starts the program, hands it the settings, waits until it is ready
    bootstrap   the program's first lines, run before bgpy can be imported there
    readiness   what the two say to each other over the pipe meanwhile
    handle      the process afterwards: alive, wait, stop, kill
    logs        inside the program: everything that is printed goes into one file

It knows nothing of what the server does: the module to run comes as a name.
"""
