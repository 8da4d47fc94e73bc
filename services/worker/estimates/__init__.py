"""How long requests take and how many tokens they need, estimated from earlier ones."""
