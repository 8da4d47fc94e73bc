"""The contract: messages, subjects, streams and error codes, as data.

It imports the standard library and msgspec only, so that every process and every generator can read it.
"""
