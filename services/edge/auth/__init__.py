"""Who sends a request: its API key, and the account, user and roles that the key stands for."""
