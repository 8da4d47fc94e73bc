"""The worker's side of the budget ledger: the hold of a request grows with its attempts, and is released at its end."""
