"""H1: a text is cut where its own content says so."""

from __future__ import annotations

import random

import pytest

from services.indexer.chunking.headings import markdown_headings
from services.indexer.chunking.sections import sections, stretches
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import Heading

SETTINGS = ChunkSettings(size=200, overlap=20, smallest_section=40)


def cut(text: str) -> list[str]:
    return [text[each.start : each.end] for each in sections(len(text), markdown_headings(text), SETTINGS)]


def test_h1_every_section_begins_at_a_heading():
    parts = [
        "words before\n" * 4,
        f"# A\n{'a' * 40}\n",
        f"## B\n{'b' * 40}\n",
        f"# C\n{'c' * 9}",
    ]
    assert cut("".join(parts)) == parts


def test_h1_short_sections_are_joined_with_the_next_below_or_beside_them():
    text = f"# A\n\n## B\n\nwords\n\n## C\n\n{'c' * 50}\n\n"
    assert cut(text + "# D\n") == [text, "# D\n"]


def test_h1_a_section_ends_at_a_higher_heading_even_if_it_is_short():
    assert cut("### A\n12345\n# B\nwords\n") == ["### A\n12345\n", "# B\nwords\n"]
    assert cut("### A\n# B\nwords\n") == ["### A\n# B\nwords\n"]


def test_h1_a_text_without_headings_is_one_section():
    assert cut("words") == ["words"]
    assert cut("") == [""]


def test_h1_a_section_knows_the_path_to_each_of_its_places():
    headings = [Heading(0, 1, "A"), Heading(5, 2, "B"), Heading(60, 2, "C"), Heading(70, 2, "D")]
    first, second = sections(300, headings, SETTINGS)
    assert [first.path_to(place, 60) for place in (0, 4, 5, 59)] == ["A", "A", "A > B", "A > B"]
    assert (second.start, second.end) == (60, 300)
    assert [second.path_to(place, 300) for place in (60, 69, 70, 299)] == ["A > C", "A > C", "A > D", "A > D"]


def test_h1_text_before_the_first_heading_has_its_path_only_together_with_it():
    (only,) = sections(30, [Heading(10, 1, "A"), Heading(20, 2, "B")], SETTINGS)
    assert [only.path_to(*place) for place in ((0, 9), (0, 10), (0, 11), (0, 30), (10, 11))] == [
        "",
        "",
        "A",
        "A",
        "A",
    ]


@pytest.mark.parametrize("joint", ["\n\n", "\n", ". ", " ", ""])
def test_h1_stretches_are_of_bounded_length_and_hold_everything(joint: str):
    rng = random.Random(3)
    text = joint.join("w" * rng.randint(1, 30) for _ in range(2_000))
    found = list(stretches(text, 100, len(text), 200))
    assert found[0][0] == 100
    assert found[-1][1] == len(text)
    assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]
    lengths = [end - start for start, end in found]
    assert max(lengths) <= 8 * 200
    assert min(lengths[:-1]) >= 2 * 200
    for start, _ in found[1:]:
        assert text[:start].endswith(joint)


def test_h1_paragraphs_are_cut_before_lines():
    text = "\n".join([("line " * 10 + "\n") * 10] * 20)
    found = list(stretches(text, 0, len(text), 200))
    assert len(found) > 5
    for start, _ in found[1:]:
        assert text[:start].endswith("\n\n")


def test_h1_long_runs_of_blanks_are_left_out():
    tabs = "b" + "\t" * 50 + "c"
    text = "a" + " \n" * 10_000 + tabs + "\n" * 5_000
    assert [text[start:end] for start, end in stretches(text, 0, len(text), 200)] == ["a", tabs]
    assert list(stretches("\n" * 10_000, 0, 10_000, 200)) == []
