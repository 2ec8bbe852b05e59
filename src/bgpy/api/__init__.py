"""What users hold: `server.Server` and `client.Client`; `program` is the server's process."""
