"""The safety guard as other services use it: the policies in force, and checks by request/reply."""
