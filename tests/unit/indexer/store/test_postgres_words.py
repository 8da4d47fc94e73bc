"""H5: words in the text forms of PostgreSQL's types; that the server reads them as meant is tested in integration."""

from __future__ import annotations

import pytest

from services.indexer.store.postgres.schema import statement
from services.indexer.store.postgres.words import word_query, word_vector
from services.indexer.store.tables import TableName, table_name


def test_h5_words_have_their_positions():
    assert word_vector("river bank river") == "'river':1,3 'bank':2"
    assert word_vector("") == ""


def test_h5_quotes_and_backslashes_are_doubled():
    assert word_vector("o'r a\\b") == "'o''r':1 'a\\\\b':2"
    assert word_query(["o'r", "a\\", "o'r"]) == ["'o''r'", "'a\\\\'"]


def test_h5_what_the_server_cannot_hold_is_left_out():
    assert word_vector(f"{'x' * 1_001} y") == "'y':2"
    assert word_query(["я" * 501, "y"]) == ["'y'"]
    assert len(word_vector(" ".join(f"{number:x>900}" for number in range(1_000)))) < 520_000
    assert word_vector(" ".join(["w"] * 20_000)).count(",") == 254
    assert word_vector(" ".join([*("a" for _ in range(20_000)), "b"])).endswith("'b':16383")


@pytest.mark.parametrize("name", ["x", "p1; DROP TABLE y", f"p{'a' * 32} "])
def test_h5_only_names_of_tables_reach_a_statement(name: str):
    with pytest.raises(ValueError, match="not the name of a table"):
        statement("SELECT * FROM {chunks}", TableName(name))


def test_h5_a_statement_names_the_table():
    table = table_name("a", "b", 1)
    assert statement("{chunks} {documents} {dimensions}", table, 8) == (
        f"penstock_index.{table}_chunks penstock_index.{table}_documents 8"
    )
