"""The wire formats of the edge, each translated to chat completions and back. Pure: bytes in, bytes out."""
