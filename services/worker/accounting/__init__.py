"""Usage and cost of each provider attempt, recorded as events."""
