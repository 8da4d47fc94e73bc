"""The budget policies in force: merged from the configuration and from live records, and followed."""
