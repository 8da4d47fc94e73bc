"""The intake of requests: the subjects under which the server stores them."""
