"""Requests that were delivered before: earlier attempts, job records, dead letters."""
