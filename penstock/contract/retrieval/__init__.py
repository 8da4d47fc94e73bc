"""Messages and records of embeddings, document collections and search."""
