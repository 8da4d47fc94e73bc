"""H3, H4, K2: the options of retrieval in a body and in headers, and the citations of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw, to_builtins
from msgspec.structs import replace

from penstock.contract.reply import Completed
from penstock.contract.retrieval.search import Citation, Rag, RecalledTurns
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import ChatCall, Dialect, InvalidField
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.rag_options import rag_of_text
from services.edge.dialects.responses import ResponsesDialect
from tests.harness.requests.reply_events import completed, started

MESSAGES = '"messages":[{"role":"user","content":"hi"}]'
CITATIONS = (
    Citation(number=1, collection="docs", document="a.md", chunk="c1", score=0.9, cited=True),
    Citation(number=2, collection="docs", document="b.md", chunk="c2", page=3),
)
RECALLED = (RecalledTurns(conversation="trip", turns=2), RecalledTurns(conversation="work/1", turns=1))
LEFT_OUT = ({"kind": "passage", "name": "b.md", "findings": ["prompt_injection"]},)
RETRIEVED: dict[str, Any] = {"citations": CITATIONS, "recalled": RECALLED, "left_out": LEFT_OUT}
COMPLETION = {
    "id": "x",
    "choices": [{"index": 0, "message": {"content": "At noon [1]."}, "finish_reason": "stop"}],
}


def read(fields: str) -> ChatCall:
    return ChatDialect().read(f'{{"model":"auto",{MESSAGES}{fields}}}'.encode())


def whole_answer(**fields: Any) -> Completed:
    return replace(completed(3), response=Raw(json.dumps(COMPLETION).encode()), **fields)


@pytest.mark.parametrize(
    ("fields", "rag", "conversation"),
    [
        (',"rag":"docs"', Rag(collection="docs"), ""),
        (',"rag":{"collection":"docs","top_k":3}', Rag(collection="docs", top_k=3), ""),
        (
            ',"rag":{"collection":"d","filters":{"n":[1,"x"]}}',
            Rag(collection="d", filters={"n": [1, "x"]}),
            "",
        ),
        (',"rag":null,"conversation":"trip"', None, "trip"),
        (',"rag":"","conversation":null', None, ""),
    ],
)
def test_h3_the_fields_are_read_and_removed_from_the_body(
    fields: str, rag: Rag | None, conversation: str
) -> None:
    call = read(f'{fields},"x":1.50e3')
    assert (call.rag, call.conversation) == (rag, conversation)
    if rag is not None or conversation:
        assert json.loads(bytes(call.body)).keys() == {"model", "messages", "x"}
        assert b'"x":1.50e3' in bytes(call.body)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (',"rag":{"collection":"docs","topk":3}', "rag"),
        (',"rag":{"collection":"docs","top_k":0}', "rag.top_k"),
        (',"rag":{"top_k":1}', "rag.collection"),
        (',"rag":5', "rag"),
        (',"conversation":5', "conversation"),
    ],
)
def test_h3_a_wrong_option_is_named(fields: str, field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(fields)
    assert refused.value.field == field


def test_h3_a_header_names_a_collection_or_has_all_options() -> None:
    assert rag_of_text("docs") == Rag(collection="docs")
    assert rag_of_text('{"collection": "docs", "whole": true}') == Rag(collection="docs", whole=True)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"collection": "docs", "topk": 3}', "{" * 100_000])
def test_h3_a_wrong_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        rag_of_text(text)


@pytest.mark.parametrize("dialect", [ChatDialect(), ResponsesDialect(), MessagesDialect()])
@pytest.mark.parametrize(("name", "value"), RETRIEVED.items())
def test_h3_h4_a_whole_answer_has_the_citations_and_what_was_recalled(
    dialect: Dialect, name: str, value: Any
) -> None:
    call = ChatCall(body=Raw(b"{}"), model="m")
    body = json.loads(dialect.whole("id-1", 7, call, whole_answer(**{name: value})))
    assert body[name] == list(to_builtins(value))
    assert RETRIEVED.keys() & body.keys() == {name}, "what there is none of is left out: strict clients"
    assert not RETRIEVED.keys() & json.loads(dialect.whole("id-1", 7, call, whole_answer())).keys()


@pytest.mark.parametrize("dialect", [ChatDialect(), ResponsesDialect(), MessagesDialect()])
@pytest.mark.parametrize(("name", "value"), RETRIEVED.items())
def test_h3_h4_a_stream_has_the_citations_and_what_was_recalled_at_its_end(
    dialect: Dialect, name: str, value: Any
) -> None:
    body = Raw(f'{{"model":"m",{MESSAGES}}}'.encode())
    stream = dialect.stream("id-1", 7, ChatCall(body=body, model="m", stream=True))
    stream.accept("m")
    first = stream.begin(started())
    last = stream.complete(replace(completed(3), **{name: value}))
    events: list[Any] = [json.loads(each.data) for each in last if each.data != b"[DONE]"]
    found = [each.get(name) or each.get("response", {}).get(name) for each in events]
    assert [each for each in found if each] == [list(to_builtins(value))]
    assert not any(name.encode() in each.data for each in first)
