"""Tokens counted by a tokenizer, for attempts whose provider sent no count."""
