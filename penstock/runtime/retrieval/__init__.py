"""Embeddings and retrieval as several services use them."""
