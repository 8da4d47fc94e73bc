"""H1: what is embedded of a chunk, and the id that follows from it."""

from __future__ import annotations

import pytest

from services.indexer.embedding.embedded_text import chunk_key, embedded_text


@pytest.mark.parametrize(
    ("title", "heading", "embedded"),
    [
        ("", "", "words"),
        ("Guide", "", "Guide\nwords"),
        ("", "A > B", "A > B\nwords"),
        ("Guide", "A > B", "Guide > A > B\nwords"),
        ("A", "A > B", "A > B\nwords"),
        ("A", "A", "A\nwords"),
        ("A", "AB", "A > AB\nwords"),
    ],
)
def test_h1_a_text_is_embedded_below_its_title_and_headings(title: str, heading: str, embedded: str):
    assert embedded_text(title, heading, "words") == embedded


def test_h1_ids_do_not_change_between_versions():
    """They are stored: with other ones all texts would be embedded again."""
    assert chunk_key("A > B\nwords", 0) == "ae888a88b489c89bc84fb6cbad13a77c"


def test_h1_ids_differ_with_each_part():
    parts = [("A", 0), ("A", 1), ("A", 10), ("0:A", 0), ("", 0), ("A\ud800", 0)]
    assert len({chunk_key(*each) for each in parts}) == len(parts)
