"""Passages of documents and of earlier conversations before the model, and what the answer cites of them."""
