"""The store in a PostgreSQL server with the extension pgvector."""
