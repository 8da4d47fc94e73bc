"""Messages to and from a NATS server: what nats-py does for each, in fewer steps for the ordinary ones."""
