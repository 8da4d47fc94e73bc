"""Calls to providers, whichever service makes them: the circuit breaker, and the wait that a provider asks for."""
