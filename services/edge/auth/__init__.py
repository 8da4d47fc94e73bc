"""Who sends a request: the account and the user that it counts for."""
