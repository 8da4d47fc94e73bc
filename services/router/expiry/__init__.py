"""Expiry sweep: ends requests that are past their deadline or cancelled while they wait in a mailbox."""
