"""Access to NATS that the client and the services share: connection, publishing, reading what is stored."""
