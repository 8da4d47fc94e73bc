"""Which models of a chain may be called now, and in which order."""
