"""What an answer used and cost, recorded as one event per provider attempt."""
