"""The safety guard: checks texts of requests and answers, and gives a verdict by the policy of the account."""
