"""When to pull from a mailbox, the check of its messages, and the requests that wait for a model."""
