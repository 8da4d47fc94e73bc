"""Serving over HTTP without NATS, for the encoder and the simulator."""
