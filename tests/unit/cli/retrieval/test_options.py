"""H1, H3, H4: the options of the commands about documents."""

import pytest

from penstock.cli.__main__ import main
from penstock.cli.parser import contradiction, make_parser
from penstock.cli.retrieval.options import rag_of
from penstock.cli.retrieval.pairs import filters_of
from penstock.contract.retrieval.search import Rag


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("index docs", "required: --collection"),
        ("index --collection docs", "required: PATH"),
        ("index docs --collection a.b", "is not a collection"),
        ("index docs --collection memory-ann", "are reserved: `penstock memory`"),
        ("index docs --collection d --metadata team", "is not KEY=VALUE"),
        ("search q --collection d --mode text --min-score 0.3", "--min-score has no effect with --mode text"),
        ("index docs --collection d --watch --dry-run", "--watch has no effect with --dry-run"),
        ("index docs --collection d --watch --json", "omit one of them"),
        ("search question", "required: --collection"),
        ("search --collection docs", "required: QUESTION"),
        ("search two words --collection docs", 'put the question in quotes: penstock search "two words"'),
        ("search q --collection docs --top-k 0", "is not a number from 1 to 100"),
        ("search q --collection docs --top-k 101", "is not a number from 1 to 100"),
        ("search q --collection docs --min-score 1.1", "is not a number from 0 to 1"),
        ("search q --collection docs --min-score nan", "is not a number from 0 to 1"),
        ("search q --collection docs --mode best", "invalid choice"),
        ("collections show", "required: NAME"),
        ("collections drop a.b", "is not a collection"),
        ("memory list", "required: --user"),
        ("memory forget --conversation c", "required: --user"),
    ],
)
def test_h1_a_mistake_is_shown_with_the_usage(line, expected, capsys):
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("usage: penstock ")
    assert expected in error


def test_h3_a_search_has_defaults_and_repeated_filters():
    line = "search q --collection docs --filter team=docs --filter year=2025 --filter year=2026"
    arguments = make_parser().parse_args(line.split())
    assert (arguments.top_k, arguments.min_score, arguments.mode, arguments.timeout) == (5, 0.0, "hybrid", 30)
    assert filters_of(arguments.filter) == {"team": "docs", "year": [2025, 2026]}
    assert contradiction(arguments) is None


def test_h1_index_takes_several_paths_patterns_and_metadata():
    line = "index docs src --collection all --glob *.md --glob *.py --exclude old --metadata year=2026 --delete-missing"
    arguments = make_parser().parse_args(line.split())
    assert [str(path) for path in arguments.paths] == ["docs", "src"]
    assert (arguments.glob, arguments.exclude) == (["*.md", "*.py"], ["old"])
    assert dict(arguments.metadata) == {"year": 2026}
    assert arguments.delete_missing
    assert not arguments.watch
    assert contradiction(arguments) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ask q --top-k 3", "--top-k, --filter and --mode need --collection"),
        ("ask q --mode vector", "--top-k, --filter and --mode need --collection"),
        ("ask q --filter a=b", "--top-k, --filter and --mode need --collection"),
        ("ask q --conversation trip", "--conversation needs --user"),
        ("explain q --collection docs", "unrecognized arguments: --collection"),
    ],
)
def test_h2_options_of_ask_without_effect_are_mistakes(line, expected, capsys):
    with pytest.raises(SystemExit):
        main(line.split())
    assert expected in capsys.readouterr().err


def test_h2_ask_with_a_collection_says_which_passages():
    arguments = make_parser().parse_args(
        ["ask", "q", "--collection", "docs", "--top-k", "3", "--filter", "team=docs", "--mode", "vector"]
    )
    assert contradiction(arguments) is None
    assert rag_of(arguments) == Rag(collection="docs", mode="vector", top_k=3, filters={"team": "docs"})
    assert rag_of(make_parser().parse_args(["ask", "q"])) is None
    assert rag_of(make_parser().parse_args(["explain", "q"])) is None
