"""The whole system on one machine: an embedded nats-server and one process per service."""
