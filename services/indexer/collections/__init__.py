"""The collections of accounts: their names, their records in a bucket, and the tables of the store behind them."""
