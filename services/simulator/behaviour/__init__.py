"""How each simulated model currently behaves, and how fast."""
