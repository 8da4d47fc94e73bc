"""The topic of a text, found by words, phrases and patterns in English, Russian and Turkish."""
