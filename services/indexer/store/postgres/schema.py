"""The tables in PostgreSQL. Each table of the store is two: documents, deleted ones too, and chunks."""

from __future__ import annotations

from typing import Final

from services.indexer.store.tables import TableName, is_table_name

__all__ = [
    "DROP",
    "EXISTING",
    "INDEX",
    "INDEXED_DIMENSIONS",
    "LATER",
    "LOCK",
    "MIGRATIONS",
    "SCHEMA",
    "TABLES",
    "statement",
]

SCHEMA: Final = "penstock_index"
INDEXED_DIMENSIONS: Final = 4_000
"""HNSW indexes of half-precision vectors have at most so many dimensions; longer ones are compared one by one."""

MIGRATIONS: Final = (
    """
    CREATE TABLE penstock_index.tables (
        name text PRIMARY KEY,
        dimensions integer NOT NULL,
        created_ms bigint NOT NULL
    )
    """,
)
"""Each is applied once, in this order. A new one is added at the end."""

TABLES: Final = (
    """
    CREATE TABLE {documents} (
        key text PRIMARY KEY,
        version bigint NOT NULL,
        deleted boolean NOT NULL,
        id text COLLATE "C",
        digest text,
        title text,
        source text,
        metadata bytea,
        tags text[],
        updated_ms bigint NOT NULL DEFAULT 0,
        chunks integer NOT NULL DEFAULT 0,
        tokens bigint NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE {chunks} (
        key text NOT NULL REFERENCES {documents} ON DELETE CASCADE,
        chunk text NOT NULL,
        ordinal integer NOT NULL,
        text text NOT NULL,
        heading text NOT NULL,
        start_ bigint NOT NULL,
        end_ bigint NOT NULL,
        page integer,
        terms text NOT NULL,
        tokens bigint NOT NULL,
        tags text[] NOT NULL,
        words tsvector NOT NULL,
        vector vector({dimensions}) NOT NULL,
        PRIMARY KEY (key, chunk)
    )
    """,
    # Text is stored in the table only, and not as a sample in the statistics of the server.
    """
    ALTER TABLE {documents} ALTER id SET STATISTICS 0, ALTER title SET STATISTICS 0,
        ALTER source SET STATISTICS 0, ALTER metadata SET STATISTICS 0
    """,
    """
    ALTER TABLE {chunks} ALTER text SET STATISTICS 0, ALTER heading SET STATISTICS 0,
        ALTER terms SET STATISTICS 0, ALTER words SET STATISTICS 0, ALTER vector SET STATISTICS 0
    """,
    "CREATE INDEX ON {chunks} USING gin (words) WITH (fastupdate = off)",
    "CREATE INDEX ON {chunks} USING gin (tags)",
    "CREATE INDEX ON {chunks} (chunk)",
)
INDEX: Final = (
    "CREATE INDEX CONCURRENTLY {index} ON {chunks} "
    "USING hnsw ((vector::halfvec({dimensions})) halfvec_cosine_ops) WITH (m = 16, ef_construction = 100)"
)
EXISTING: Final = "SELECT to_regclass('{chunks}') IS NOT NULL AND to_regclass('{documents}') IS NOT NULL"
LOCK: Final = "LOCK TABLE {chunks}, {documents} IN ACCESS EXCLUSIVE MODE"
LATER: Final = "SELECT EXISTS (SELECT FROM {documents} WHERE NOT deleted AND version > $1)"
DROP: Final = ("DROP TABLE IF EXISTS {chunks}", "DROP TABLE IF EXISTS {documents}")


def statement(template: str, table: TableName, dimensions: int = 0) -> str:
    """The template with the names of a table of the store. Raises ValueError for what is no name of a table."""
    if not is_table_name(table):
        raise ValueError(f"{table!r} is not the name of a table")
    names = {
        "{documents}": f"{SCHEMA}.{table}_documents",
        "{chunks}": f"{SCHEMA}.{table}_chunks",
        "{index}": f"{table}_vectors",
        "{dimensions}": str(dimensions),
    }
    for place, name in names.items():
        template = template.replace(place, name)
    return template
