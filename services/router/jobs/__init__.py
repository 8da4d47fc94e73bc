"""Job records at the router: written before the work is enqueued, and ended when the work is lost."""
