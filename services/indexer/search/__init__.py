"""Search of a collection: fusion of two result lists."""
