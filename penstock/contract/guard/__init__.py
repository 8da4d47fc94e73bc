"""Messages and records of the safety guard: policies, checks and their verdicts, classification."""
