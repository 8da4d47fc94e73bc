"""The shared quota record as pure data: what was spent, what is free, and who gets how much."""
