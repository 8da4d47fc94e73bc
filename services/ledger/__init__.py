"""The budget ledger: holds, settlements, limits and spend history, written by one process per partition."""
