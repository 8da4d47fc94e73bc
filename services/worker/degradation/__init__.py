"""Reduction of requests while a model is slow or failing."""
