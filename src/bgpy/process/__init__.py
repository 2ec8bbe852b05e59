"""Starts a server as a background process.

::

    launch        starts the program, sends it the settings, waits until it is ready
    bootstrap     the program's first lines, run before bgpy can be imported there
    readiness     the messages between the two over the pipe meanwhile
    surroundings  warns if the system will end the server together with its starter
    logs          inside the program: sends all output to one file

The package knows nothing of what the server does: it gets the module to run by name.
"""
