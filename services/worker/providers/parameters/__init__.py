"""A request's parameters as one model accepts them."""
