"""The quota as all workers share it: leased from one record by compare-and-set (decision 0010)."""
