"""How each simulated model behaves at this moment, and how fast."""
