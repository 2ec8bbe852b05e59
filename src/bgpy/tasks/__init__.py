"""The user's tasks and the life of one call, free of threads and sockets.

`lifecycle.Tasks.handle` is the one entry: a call goes in, an `Outcome` comes out. Responses
leave through the call's `ClientSocket`. `engine` says what runs calls for a server.
"""
