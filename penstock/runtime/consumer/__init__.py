"""A bounded pull loop on durable JetStream consumers."""
