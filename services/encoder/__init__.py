"""The encoder: vectors of texts by a multilingual model in this process, behind OpenAI's embeddings endpoint."""
