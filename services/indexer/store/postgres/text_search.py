"""Search by words in PostgreSQL, ranked as BM25 does: rare words count more, and repetitions less and less.

PostgreSQL's own ranks do not know how rare a word is. `ts_rank` of a single word is a sum over its occurrences that
grows more and more slowly: 0.0608 for one, and 0.1 for many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.indexer.store.postgres.schema import statement
from services.indexer.store.postgres.words import word_query
from services.indexer.store.tables import TableName

if TYPE_CHECKING:
    import asyncpg

__all__ = ["TextQuery", "search_by_words"]

_WORDS: Final = 64
_COUNTED: Final = 3_000
"""Up to this number, the chunks that have a word are counted. A word that more have does not select candidates, unless
there is no other word.
"""
_COUNT: Final = """
    SELECT query,
        (SELECT count(*) FROM (SELECT FROM {chunks} WHERE words @@ query::tsquery LIMIT $2) AS counted) AS chunks
    FROM unnest($1::text[]) AS query
"""
_TOTAL: Final = "SELECT sum(chunks) AS chunks, sum(tokens) AS tokens FROM {documents}"
_ONE_OCCURRENCE: Final = 0.0607927
_SEARCH: Final = """
    WITH weighted AS MATERIALIZED (
        SELECT query::tsquery AS query, weight FROM unnest($1::text[], $2::float8[]) AS given (query, weight)
    ), best AS (
        SELECT c.key, c.chunk,
            (SELECT sum(weight * ts_rank(c.words, query)) FROM weighted) / (0.75 + 0.25 * c.tokens / $3) AS text_rank
        FROM {chunks} c WHERE c.words @@ $4::text::tsquery{filter}
        ORDER BY text_rank DESC, c.key, c.ordinal LIMIT $5
    )
    SELECT {columns}, COALESCE(1 - (c.vector <=> $6), 0) AS similarity
    FROM best JOIN {chunks} c USING (key, chunk) JOIN {documents} d USING (key)
    ORDER BY best.text_rank DESC, c.key, c.ordinal
"""
FIRST_FILTER_VALUE: Final = 7


class TextQuery(msgspec.Struct, frozen=True):
    words: Sequence[str]
    vector: bytes | None
    limit: int
    columns: str
    condition: str
    """Empty, or a condition that begins with AND, whose values are numbered from 7."""
    values: list[list[str]]


async def search_by_words(connection: asyncpg.Connection, table: TableName, asked: TextQuery) -> list[Any]:
    queries = word_query(asked.words)[:_WORDS]
    if not queries:
        return []
    total = await connection.fetchrow(statement(_TOTAL, table))
    chunks, tokens = int(total["chunks"] or 0), int(total["tokens"] or 0)
    counts = {
        row["query"]: row["chunks"]
        for row in await connection.fetch(statement(_COUNT, table), queries, _COUNTED + 1)
    }
    found = sorted((query for query in queries if counts[query]), key=counts.__getitem__)
    if not found:
        return []
    selecting = [query for query in found if counts[query] <= _COUNTED] or found[:1]
    template = _SEARCH.replace("{filter}", asked.condition).replace("{columns}", asked.columns)
    rows: list[Any] = await connection.fetch(
        statement(template, table),
        found,
        [_weight(counts[query], chunks) for query in found],
        max(1.0, tokens / max(1, chunks)),
        " | ".join(selecting),
        asked.limit,
        asked.vector,
        *asked.values,
    )
    return rows


def _weight(having: int, chunks: int) -> float:
    """The inverse document frequency of BM25; a word that was not counted to the end is in half of the chunks."""
    if having > _COUNTED:
        having = max(having, chunks // 2)
    rarity = math.log(1 + (chunks - having + 0.5) / (having + 0.5)) if having <= chunks else 0.0
    return rarity / _ONE_OCCURRENCE
