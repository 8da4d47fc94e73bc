"""The worker: takes a role's work from its mailbox and has a provider answer it."""
