"""How ids and keys of the HTTP edge look, as parts of regular expressions."""
