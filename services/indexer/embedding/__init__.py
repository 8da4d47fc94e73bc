"""Vectors of texts: which model makes them, and the requests for them through the gateway."""
