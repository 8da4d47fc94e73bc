"""Parameters of requests: the composed body, the rules of a model, and what is learned from refusals."""
