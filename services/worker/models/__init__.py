"""Which model of a chain may be called, and which is called next."""
