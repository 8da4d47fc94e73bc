"""Shares of one quota, leased by several workers from one record by compare-and-set (decision 0010)."""
