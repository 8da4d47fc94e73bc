"""Credentials: their current keys, and whether the providers accept them."""
