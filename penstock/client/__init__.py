"""The client: send a request, follow its reply, resume it, cancel it, and read jobs."""
