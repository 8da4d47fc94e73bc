"""Estimates of the duration and the tokens of requests, from earlier requests."""
