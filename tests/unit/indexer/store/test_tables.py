"""H5: names, keys and tags are digests, so that no text of a user selects a table, a document or a tag of another."""

from __future__ import annotations

import pytest

from services.indexer.store.tables import checked_digests, document_key, is_table_name, table_name, tag

HOSTILE = ("", "a'b", '"; DROP TABLE x; --', "../../etc", "ключ", "a\0b", "\ud800", "x" * 100_000)


def test_h5_each_account_collection_and_generation_has_a_table_of_its_own():
    names = {
        table_name("a", "bc", 1),
        table_name("ab", "c", 1),
        table_name("a", "bc", 11),
        table_name("a", "bc1", 1),
    }
    assert len(names) == 4
    assert table_name("a", "bc", 1) in names


@pytest.mark.parametrize("text", HOSTILE)
def test_h5_hostile_text_becomes_digits(text: str):
    assert is_table_name(table_name(text, text, 1))
    assert len(checked_digests([document_key(text), tag(text, text)])) == 2


def test_h5_the_border_of_key_and_value_counts():
    assert tag("ab", "c") != tag("a", "bc")


@pytest.mark.parametrize("name", ["", "p1", f"p{'g' * 32}", f"P{'a' * 32}", f"p{'a' * 32}\n", f"p{'a' * 33}"])
def test_h5_other_names_are_no_tables(name: str):
    assert not is_table_name(name)


@pytest.mark.parametrize("digest", ["", "a" * 31, "A" * 32, "' OR 1=1 --", f"{'a' * 32}'", f"{'a' * 32}\n"])
def test_h5_only_digests_reach_a_query(digest: str):
    with pytest.raises(ValueError, match="is not a digest"):
        checked_digests(["a" * 32, digest])
