"""The independent services, one folder each; none imports another (the launcher may name them all)."""
