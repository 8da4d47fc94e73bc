"""The store in a directory or an object store, by LanceDB, inside the process of the indexer."""
