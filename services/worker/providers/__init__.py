"""A call to a provider: raw bytes out and in, read once, strictly, within bounds."""
