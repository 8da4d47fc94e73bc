"""Searching long texts by sets of patterns in linear time, and places in them."""
