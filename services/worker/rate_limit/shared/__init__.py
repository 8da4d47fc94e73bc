"""The quota shared by all workers: leased from one record by compare-and-set (decision 0010)."""
