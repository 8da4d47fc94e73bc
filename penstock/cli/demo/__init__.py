"""`penstock demo`: the system started, shown at work and stopped."""
