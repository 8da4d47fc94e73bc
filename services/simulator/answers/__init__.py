"""Request bodies decoded, answers generated from the model name and the messages alone, and encoded."""
