"""HTTP exchanges over raw ASGI: bounded bodies, server-sent events, errors, and the listener of the public address."""
