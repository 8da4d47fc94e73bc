"""Requests that were delivered before: attempts of earlier workers, and the record of a job."""
