"""`penstock demo`: start a system, show what Penstock promises, stop it."""
