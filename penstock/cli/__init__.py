"""The `penstock` command: starts, asks, watches."""
