"""Access to NATS, shared by the client and the services: connection, publishing, reading stored messages."""
