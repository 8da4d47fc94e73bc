"""Prompt injection and jailbreaks, direct ones and ones inside documents, in English, Russian and Turkish."""
