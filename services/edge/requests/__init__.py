"""From an HTTP request to a request on the bus: options, identity of the answer, and subscriptions per account."""
