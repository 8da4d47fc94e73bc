"""The HTTP edge: OpenAI and Anthropic clients over HTTP, served through the bus."""
