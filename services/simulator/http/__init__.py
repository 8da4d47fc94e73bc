"""Requests decoded, responses sent: whole, cut, silent or reset."""
