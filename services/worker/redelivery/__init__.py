"""A request that was delivered before: what earlier attempts did, and its end as a dead letter."""
