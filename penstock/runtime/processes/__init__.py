"""Processes: the libraries that they need, and their end with their parent."""
