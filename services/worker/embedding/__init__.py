"""Requests of kind embed: texts of all of them are gathered into provider batches, and each is embedded once."""
