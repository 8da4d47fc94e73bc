"""Errors of providers: reading them, classifying them into failure kinds, and the consequences of each kind."""
