"""The memory of users: how much of it is kept, and forgetting that leaves nothing behind."""
