"""The worker: executes the requests of its roles by calling model providers."""
