"""The moderation endpoint of OpenAI, or one with the same interface."""
