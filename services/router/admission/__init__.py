"""Admission control: a request that could not finish before its deadline is rejected on arrival."""
