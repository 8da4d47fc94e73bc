"""A provider's answer, read from its bytes: streamed or whole."""
