"""Attempts of requests: what the stored replies show of them, and the event of their usage and cost."""
