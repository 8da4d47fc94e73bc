"""The indexer: documents of collections in chunks, with their vectors, and the search over them."""
