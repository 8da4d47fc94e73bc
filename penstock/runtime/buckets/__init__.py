"""Records of buckets that processes share: following their changes, and changing them with an audit."""
