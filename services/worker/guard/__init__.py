"""The safety guard inside a worker: the texts of requests and answers, checked by the guard service."""
