"""Which subject a text is about, by words, phrases and patterns in three languages."""
