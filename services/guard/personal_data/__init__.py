"""The local detector of personal data: candidates by one search, and a precise check of each."""
