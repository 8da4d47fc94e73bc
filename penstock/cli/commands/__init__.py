"""One module per command, and what it needs."""
