"""Which replies in `LLM_REPLIES` are deleted before their time, when all of them do not fit."""
