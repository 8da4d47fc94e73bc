"""The model worker: one role's mailbox, quota, breaker and ladder of attempts."""
