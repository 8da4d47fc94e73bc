"""An OpenAI-compatible HTTP provider whose model names choose how it behaves."""
