"""The pure decision on one request: its role, its complexity, or what is wrong with it."""
