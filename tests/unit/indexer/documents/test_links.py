"""H1: link targets that run scripts are removed from Markdown, however they are written."""

from __future__ import annotations

import time

import pytest

from services.indexer.documents.links import without_unsafe_targets

UNSAFE = [
    "[text](javascript:alert(1))",
    "[text](JAVASCRIPT:x)",
    "[text]( javascript:x)",
    "[text](java\nscript:x)",
    "[text](java\tscript:x)",
    "[text](\x01javascript:x)",
    "[text](<javascript:alert('a b')>)",
    "[text](< java script:x>)",
    "[text](&#106;avascript:x)",
    "[text](javascript&colon;x)",
    "[text](javascript&amp;colon;x)",
    "[text](java\\script:x)",
    "[text](vbscript:x)",
    "[text](data:text/html,<b>(x)</b>)",
    '[text](data:text/html;base64,PHN2Zz4= "a title")',
    "[text](javascript:alert(1)",
    "[text](file:///etc/passwd)",
]


@pytest.mark.parametrize("markdown", UNSAFE)
def test_h1_an_unsafe_target_is_removed(markdown: str):
    assert without_unsafe_targets(f"before {markdown}\n\nafter") == "before [text]\n\nafter"


def test_h1_the_text_behind_an_unsafe_target_stays():
    assert without_unsafe_targets("[a](javascript:f(1)(2)) b [c](data:,d) e") == "[a] b [c] e"
    assert without_unsafe_targets("![a](data:image/png;base64,AAAA) b") == "![a] b"


def test_h1_definitions_and_autolinks_are_removed_too():
    assert without_unsafe_targets("[a]: javascript:x\nnext") == "[a]\nnext"
    assert without_unsafe_targets("see <javascript:run()>") == "see javascript:run()"


@pytest.mark.parametrize(
    "markdown",
    [
        "[text](https://a.example/x_(y)?q=javascript:z)",
        "[text](/relative/path) [text](#top) [text](page.html)",
        "[text](mailto:a@b.example) <https://a.example> <a@b.example>",
        "[ref]: https://a.example\nwords [ref] and a[1]: b(c)",
        "if a < b: javascript: is a scheme",
        "",
    ],
)
def test_h1_other_text_stays_as_it_is(markdown: str):
    assert without_unsafe_targets(markdown) == markdown


@pytest.mark.parametrize(
    "piece", ["](javascript:", "](javascript:(", "](<data:", "](", "]: data:", "<javascript:", "[a](data:x\\"]
)
def test_h1_hostile_links_take_linear_time(piece: str):
    started = time.thread_time()
    without_unsafe_targets(piece * 100_000)
    assert time.thread_time() - started < 4
