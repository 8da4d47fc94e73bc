"""H1: chunks of any text: exact places, nothing lost, and a change that moves only the chunks near it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from services.indexer.chunking.chunk import Chunk, chunk
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import Extracted, Format

FORMATS: Final = st.sampled_from(["text", "markdown", "html", "code", "csv"])
MARKS: Final = [
    "# A\n",
    "## Б\n",
    "###### c\n",
    "```\n",
    "~~~\n",
    "---\n",
    "===\n",
    "- x\n",
    "  - y\n",
    "> q\n",
]
WORDS: Final = [
    "word ",
    "слово. ",
    "日本。",
    "\U0001f468\u200d\U0001f469",
    "e\u0301",
    "a" * 150,
    "&amp;",
    "[a](b)",
]
BLANKS: Final = ["\n", "\n\n", "\t", " " * 250, "\n" * 120]
CODE: Final = [
    "def f(x):\n",
    "    return 1\n",
    "class A:\n",
    "<b>",
    "\\",
    "*",
    "_",
    "$x$",
    "| a | b |\n",
    "|-|-|\n",
]
PIECES: Final = st.sampled_from([*MARKS, *WORDS, *BLANKS, *CODE])
TEXTS: Final = st.lists(st.one_of(PIECES, st.text(max_size=30)), max_size=150).map("".join)
SETTINGS: Final = st.builds(
    lambda size, overlap, smallest: ChunkSettings(size, size * overlap // 100, size * smallest // 100),
    st.integers(50, 1_500),
    st.integers(0, 50),
    st.integers(0, 100),
)


@given(TEXTS, FORMATS, SETTINGS)
def test_h1_places_are_exact_and_nothing_visible_is_lost(text: str, format_: Format, settings: ChunkSettings):
    chunks = chunk(Extracted(text, format=format_), settings)
    covered = bytearray(len(text))
    for each in chunks:
        assert each.text == text[each.start : each.end]
        assert 0 < len(each.text) <= settings.size
        covered[each.start : each.end] = b"\1" * len(each.text)
    assert not "".join(character for character, seen in zip(text, covered, strict=True) if not seen).strip()
    starts = [each.start for each in chunks]
    assert starts == sorted(starts)


@given(TEXTS, FORMATS, SETTINGS)
def test_h1_the_same_text_gives_the_same_chunks(text: str, format_: Format, settings: ChunkSettings):
    assert chunk(Extracted(text, format=format_), settings) == chunk(
        Extracted(text, format=format_), settings
    )


VOCABULARY: Final = [
    "pump",
    "valve",
    "насос",
    "клапан",
    "pompa",
    "supap",
    "water",
    "of",
    "the",
    "a",
    "и",
    "ve",
]


def _document(rng: random.Random, kind: str) -> str:
    def sentence() -> str:
        return (
            " ".join(rng.choices(VOCABULARY, k=rng.randint(4, 15))).capitalize() + f" {rng.randint(0, 999)}."
        )

    def paragraph() -> str:
        return " ".join(sentence() for _ in range(rng.randint(1, 6)))

    if kind == "line":
        return " ".join(sentence() for _ in range(900))
    if kind == "table":
        return "\n".join(
            f"{rng.randint(0, 9_999)},{rng.choice(VOCABULARY)},{rng.random():.4f}" for _ in range(2_500)
        )
    if kind == "paragraphs":
        return "\n\n".join(paragraph() for _ in range(250))
    return "\n\n".join(
        f"{'#' * rng.randint(1, 3)} {sentence()}" if rng.random() < 0.2 else paragraph() for _ in range(300)
    )


def _changed(before: list[Chunk], after: list[Chunk]) -> int:
    def contents(chunks: list[Chunk]) -> Counter[tuple[str, str]]:
        return Counter((each.heading, each.text) for each in chunks)

    return (contents(after) - contents(before)).total()


@given(
    st.integers(0, 2**32),
    st.sampled_from(["line", "table", "paragraphs", "headings"]),
    st.floats(0, 1),
    st.sampled_from(
        ["x", " inserted words", "A whole sentence is inserted here. ", "\n\nA paragraph.\n\n", "# Heading\n"]
    ),
    st.integers(0, 200),
)
def test_h1_a_change_moves_only_the_chunks_near_it(
    seed: int, kind: str, where: float, inserted: str, removed: int
):
    """Those of the changed stretch and, seldom, of the next few: a cut is found again by its text."""
    text = _document(random.Random(seed), kind)
    format_: Format = "markdown" if kind == "headings" else "text"
    place = int(where * len(text))
    before = chunk(Extracted(text, format=format_))
    after = chunk(Extracted(text[:place] + inserted + text[place + removed :], format=format_))
    assert len(before) > 50
    assert _changed(before, after) <= 30


def test_h1_most_changes_move_two_chunks_or_fewer():
    rng = random.Random(7)
    counts = []
    for kind in ("line", "table", "paragraphs", "headings"):
        text = _document(rng, kind)
        format_: Format = "markdown" if kind == "headings" else "text"
        before = chunk(Extracted(text, format=format_))
        for _ in range(25):
            place = rng.randrange(len(text))
            after = chunk(Extracted(f"{text[:place]} inserted {text[place:]}", format=format_))
            counts.append(_changed(before, after))
    counts.sort()
    assert counts[len(counts) // 2] <= 2
    assert counts[len(counts) * 9 // 10] <= 8
