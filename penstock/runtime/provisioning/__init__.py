"""Creates the streams, consumers and buckets of the contract, and restores what was changed."""
