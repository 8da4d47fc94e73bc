"""H1: headings of Markdown and definitions of source code, and the path of them to a place."""

from __future__ import annotations

import time

import pytest

from services.indexer.chunking.headings import HeadingPath, definitions, markdown_headings
from services.indexer.documents.document import Heading

MARKDOWN = """# The *first* `title` #

words
# not a [heading](https://a.example)? yes

```sh
# a comment
~~~
```

Under
=====

Also under
----------

| a | b |
|---|---|
####### seven
#none
   ### Indented ###
    # code
- item
---
"""


def test_h1_headings_of_markdown_are_found():
    assert [(each.level, each.title) for each in markdown_headings(MARKDOWN)] == [
        (1, "The first title"),
        (1, "not a heading? yes"),
        (1, "Under"),
        (2, "Also under"),
        (3, "Indented"),
    ]


def test_h1_headings_have_the_places_of_their_lines():
    for heading in markdown_headings(MARKDOWN):
        assert MARKDOWN[: heading.start].endswith("\n") or heading.start == 0


@pytest.mark.parametrize("fence", ["```", "~~~~", "```python title"])
def test_h1_code_that_is_never_closed_hides_the_rest(fence: str):
    assert [each.title for each in markdown_headings(f"# A\n{fence}\n# B\n``\n# C\n")] == ["A"]


def test_h1_front_matter_is_no_heading():
    assert list(markdown_headings("---\ntitle: A\ntags: [b]\n---\n\nwords\n")) == []


def test_h1_a_path_holds_the_headings_above():
    path = HeadingPath()
    levels = [(1, "A"), (2, "B"), (4, "C"), (3, "D"), (2, ""), (3, "E"), (1, "F")]
    assert [path.enter(Heading(0, level, title)) for level, title in levels] == [
        "A",
        "A > B",
        "A > B > C",
        "A > B > D",
        "A",
        "A > E",
        "F",
    ]


def test_h1_a_path_is_bounded():
    path = HeadingPath()
    deep = [path.enter(Heading(0, level, f"{level}" * 100)) for level in range(1, 10)]
    assert len(deep[-1]) == 400
    assert deep[-1].endswith("> " + "9" * 100)


@pytest.mark.parametrize(
    ("language", "code", "titles"),
    [
        (
            "python",
            "@cache\ndef f(a: int) -> str:\n    x = 1\n\n\nclass A(B):\n    async def g(self):\n",
            [(0, "def f(a: int) -> str"), (0, "class A(B)"), (4, "async def g(self)")],
        ),
        (
            "typescript",
            "export default class A extends B {\n  run() {}\n}\nexport function f<T>(a: T) {\n",
            [(0, "export default class A extends B"), (0, "export function f<T>(a: T)")],
        ),
        (
            "go",
            "type Pump struct {\n}\n\nfunc (p *Pump) Run() error {\n",
            [(0, "type Pump struct"), (0, "func (p *Pump) Run() error")],
        ),
        (
            "rust",
            "pub(crate) fn f() {\n}\nimpl<T> A for B<T> {\n    pub async fn g(&self) {\n",
            [(0, "pub(crate) fn f()"), (0, "impl<T> A for B<T>"), (4, "pub async fn g(&self)")],
        ),
        ("sql", "CREATE TABLE pumps (\n  id int\n);\n", [(0, "CREATE TABLE pumps (")]),
        ("python", '"""A\nclass of things, and a\ntype of words\nrecord the rest\n"""\n', []),
        ("yaml", "type: object\nclass: a\n", []),
    ],
)
def test_h1_definitions_of_source_code_are_found(language: str, code: str, titles: list[tuple[int, str]]):
    assert [(each.level, each.title) for each in definitions(code, language)] == titles


def test_h1_a_definition_begins_with_its_comments_and_decorators():
    code = "x = 1\n\n# What it does.\n@cache\n@other(1)\ndef f():\n    pass\n"
    (found,) = definitions(code, "python")
    assert code[found.start :].startswith("# What it does.")


@pytest.mark.parametrize(
    "text",
    [
        "# " * 500_000,
        "#" * 1_000_000,
        "# a\n" * 50_000,
        "`" * 1_000_000,
        "```\n" * 100_000,
        "a\n---\n" * 50_000,
        "\n" * 1_000_000,
        "@a\n" * 100_000,
        " " * 1_000_000,
        "class " * 150_000,
        "def f" + "(" * 1_000_000,
        "export " * 100_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_h1_hostile_texts_take_linear_time(text: str):
    started = time.thread_time()
    assert sum(1 for _ in markdown_headings(text)) <= 50_000
    assert sum(1 for _ in definitions(text, "python")) <= 1
    assert time.thread_time() - started < 4
