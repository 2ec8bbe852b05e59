"""Where tasks run. Each module holds one engine; `bgpy.tasks.engine` says what an engine is.

The host makes the engine and passes it to the server: no server imports one.
"""
