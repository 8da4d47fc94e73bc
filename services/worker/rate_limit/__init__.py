"""What may still be used of a model and key: windows, pauses, and who goes first."""
