"""API keys of the HTTP edge: their format and digest, and the bucket with their records."""
