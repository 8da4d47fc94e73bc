"""The end of a message that cannot be processed: a dead letter, and a `failed` event."""
