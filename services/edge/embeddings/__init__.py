"""OpenAI's embeddings endpoint, answered over the bus."""
