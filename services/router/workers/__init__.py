"""Which roles have a live worker."""
