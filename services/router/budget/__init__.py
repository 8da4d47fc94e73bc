"""The router's side of the budget ledger: a hold on the cost of each request before it is queued, and its release."""
