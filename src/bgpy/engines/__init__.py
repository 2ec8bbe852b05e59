"""Where tasks run. Each module holds one engine; `bgpy.tasks.engine` says what an engine is.

Whoever hosts a server makes its engine and hands it over: no server imports one.
"""
