"""HTTP exchanges over ASGI that can also be cut, silent or reset, and errors in OpenAI's shape."""
