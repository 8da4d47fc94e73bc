"""Who sends a request: its API key, and the account, user, roles and models that the key stands for."""
