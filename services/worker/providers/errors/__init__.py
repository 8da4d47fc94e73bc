"""What a provider says is wrong, and which kind of failure that is."""
