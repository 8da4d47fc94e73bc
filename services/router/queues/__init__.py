"""The mailboxes: their backlog, their ranks, and their limits in bytes."""
