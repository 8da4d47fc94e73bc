"""Detectors that call another service: the pieces of a call, its limits, and ratings that are remembered."""
