"""The tier monitor (REQUIREMENTS C7): what is used of each limit, and what is told of it."""
