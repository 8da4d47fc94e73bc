"""One index request from its message to its terminal event: checks, cancellation, progress, the end, dead letters."""
