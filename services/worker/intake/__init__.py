"""When to pull from a mailbox, and the check of what came."""
