"""From the documents of a request to rows of the store: what changed is embedded, and replaced in atomic groups."""
