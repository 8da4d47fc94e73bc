"""Search of a collection: by vector and by words, fused by ranks; and listings of what is stored."""
