"""The user's tasks and the life of one call, free of threads, sockets and bytes.

`engine.Tasks.handle` is the one entry: a call goes in, an `Outcome` comes out.
Responses leave through the call's `ClientSocket`.
"""
