"""Objects to payload and back: pickle protocol 5, with cloudpickle where code must travel.

A payload is a head (the pickle), out-of-band buffers, and whether it holds bytecode.
`payload` does objects, `failures` exceptions with their remote traceback, `modules`
the source of the user's modules, `functions` the three tasks, `memory` where large
buffers are received.
"""
