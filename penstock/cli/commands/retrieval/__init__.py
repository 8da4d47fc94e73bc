"""The commands about documents, collections and memory."""
