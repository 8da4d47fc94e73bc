"""The subjects under which readers of replies say how far they are behind."""
