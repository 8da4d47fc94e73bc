"""Search of a collection: normalised words, fusion of two result lists, and rewriting of follow-up questions."""
