"""The pure decision on one request: its role and complexity, or the reason for its rejection."""
