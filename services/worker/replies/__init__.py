"""Replies in `LLM_REPLIES`: what this worker stored for each account, and room for large ones."""
