"""The public classes `server.Server`, `client.Client` and `handles.Handle`, and the doctor."""
