"""What wears a server down: long use, attackers in numbers, exceptions that strike anywhere.

Each package runs as ``python -m endurance.NAME`` and tells by its exit code whether all held:

- ``soak``: a server that lives long among clients that come, go and die must not grow;
- ``siege``: strangers by number, patience and malice, against bars; writes
  ``docs/siege.md``;
- ``strikes``: exceptions, calls and collections at every instruction, on both sides.
"""
