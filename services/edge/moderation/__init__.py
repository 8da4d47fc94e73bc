"""OpenAI's moderation endpoint, answered by the safety guard."""
