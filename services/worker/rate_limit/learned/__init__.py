"""Limits that are not configured: learned from the refusals of a provider."""
