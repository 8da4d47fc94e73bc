"""One request from its message to its terminal event."""
