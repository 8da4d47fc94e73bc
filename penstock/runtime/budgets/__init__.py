"""The bucket of budget policies and prices: its records, the following of its changes, and audited changes."""
