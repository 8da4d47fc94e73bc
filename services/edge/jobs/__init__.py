"""Jobs over HTTP: requests of the batch lane, with a status and a result."""
