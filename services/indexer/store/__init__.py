"""The store of the indexer behind one interface: LanceDB in a directory or an object store, or PostgreSQL."""
