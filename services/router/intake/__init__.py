"""Accounts take turns: which of the received requests are handled at once; and the rate of each account."""
