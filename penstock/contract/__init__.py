"""The contract: messages, subjects, streams and error codes, as data.

Imports the standard library and msgspec only, so that any process (and any generator) can read it.
"""
