"""The tree of the spans of one request (J1)."""

from __future__ import annotations

import pytest

from penstock.bus import trace_names as names
from penstock.cli.errors import CommandError
from penstock.cli.render.trace_tree import newest_trace, trace_of, trace_text, tree
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.runtime.telemetry.trace_file import SpanLine

MS = 1_000_000


def span(
    span_id: str, parent: str | None, start_ms: int, end_ms: int, trace: str = "t", **attributes
) -> SpanLine:
    return SpanLine(
        trace_id=trace,
        span_id=span_id,
        parent_id=parent,
        service=f"penstock-{span_id}",
        name=f"name of {span_id}",
        kind="internal",
        start_ns=start_ms * MS,
        end_ns=end_ms * MS,
        error=False,
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
    )


def shape(nodes):
    return [(node.span.span_id, shape(node.children)) for node in nodes]


def test_children_are_below_their_parents_in_order_of_time():
    spans = [
        span("late", "root", 5, 6),
        span("early", "root", 1, 9),
        span("leaf", "early", 2, 3),
        span("root", None, 0, 10),
    ]

    assert shape(tree(spans)) == [("root", [("early", [("leaf", [])]), ("late", [])])]


def test_a_span_whose_parent_is_missing_is_a_root():
    spans = [span("orphan", "gone", 3, 4), span("child", "orphan", 3, 4), span("root", None, 0, 10)]

    assert shape(tree(spans)) == [("root", []), ("orphan", [("child", [])])]


def test_a_span_that_is_its_own_parent_is_shown_once():
    assert shape(tree([span("a", "a", 0, 1)])) == [("a", [])]


def test_a_span_is_marked_while_its_parent_runs_and_not_where_the_parent_is_that_of_a_caller():
    spans = [span("edge", "caller", 0, 1), span("attempt", "worker", 2, 3), span("chunk", "attempt", 2, 3)]

    _, *lines = trace_text(spans).splitlines()

    marked = ["still running" in line for line in lines]
    assert marked == [True, True, False]
    assert "still running" not in trace_text(spans[:1])


def test_the_text_has_offsets_durations_and_main_attributes():
    request = {names.REQUEST_ID.replace(".", "__"): "r-1", names.ROLE.replace(".", "__"): "creative"}
    failed = {
        names.REQUEST_MODEL.replace(".", "__"): "m",
        names.ATTEMPT.replace(".", "__"): 1,
        "error__type": "server_error",
    }

    lines = trace_text(
        [span("worker", "client", 102, 105, **failed), span("client", None, 100, 150, **request)]
    ).splitlines()

    assert lines[0] == "trace t · request r-1"
    assert "penstock-client: name of client" in lines[1]
    assert "role=creative" in lines[1]
    assert lines[2].startswith("   └─ penstock-worker")
    assert "+     2.0 ms       3.0 ms" in lines[2]
    assert "model=m attempt=1 error=server_error" in lines[2]


def test_the_trace_is_found_by_request_or_as_the_newest():
    key = names.REQUEST_ID.replace(".", "__")
    spans = [
        span("a", None, 10, 90, trace="old", **{key: "r-1"}),
        span("b", None, 20, 30, trace="new", **{key: "r-2"}),
        span("c", None, 99, 100, trace="no request"),
    ]

    assert trace_of(spans, "r-1") == "old"
    assert trace_of(spans, "r-9") is None
    assert newest_trace(spans) == "new"
    assert newest_trace([]) is None


def test_g4_requests_of_the_guard_to_its_model_are_not_the_newest():
    request, account = (name.replace(".", "__") for name in (names.REQUEST_ID, names.ACCOUNT))
    spans = [
        span("a", None, 10, 90, trace="of an application", **{request: "r-1", account: "shop"}),
        span("b", None, 20, 30, trace="of the guard", **{request: "r-2", account: GUARD_ACCOUNT}),
        span("c", "b", 21, 29, trace="of the guard", **{request: "r-2"}),
    ]

    assert newest_trace(spans) == "of an application"
    assert newest_trace(spans[1:]) is None
    assert trace_of(spans, "r-2") == "of the guard"


def test_a_unique_beginning_of_an_id_finds_its_trace():
    key = names.REQUEST_ID.replace(".", "__")
    spans = [
        span("a", None, 1, 2, trace="one", **{key: "0199-aa"}),
        span("b", None, 1, 2, trace="two", **{key: "0199-ab"}),
        span("c", "b", 1, 2, trace="two", **{key: "0199-ab"}),
        span("d", None, 1, 2, trace="three", **{key: "0199-a"}),
    ]

    assert trace_of(spans, "0199-ab") == "two"
    assert trace_of(spans, "0199-a") == "three", "a complete id is not a prefix"
    with pytest.raises(CommandError, match="3 requests begin with 0199: 0199-aa, 0199-ab"):
        trace_of(spans, "0199")


def test_j1_h2_a_retrieval_shows_its_collection_passages_and_best_score():
    attributes = {names.COLLECTION: "docs\x1b", names.PASSAGES: 4, names.BEST_SCORE: 0.71234}
    found = span(
        "retrieval", None, 0, 10, **{key.replace(".", "__"): value for key, value in attributes.items()}
    )
    assert trace_text([found]).endswith("collection=docs\\x1b passages=4 best score=0.71")
