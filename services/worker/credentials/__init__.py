"""Credentials: which key each has now, and what becomes of them."""
