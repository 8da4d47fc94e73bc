"""H2: an embed request is checked and routed by its body, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.contract.names import ROLES, implicit_role
from penstock.contract.request import NO_BODY, BodyRef
from penstock.contract.retrieval.embeddings import MAX_INPUTS
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import load_catalogue
from services.router.routing.bodies import extract_stored_features
from services.router.routing.body_errors import InvalidBody
from services.router.routing.decide import decide
from services.router.routing.embedding import extract_embed_features
from services.router.routing.inbound import InboundRequest, job_of
from services.router.routing.outcome import BodyNeeded, Rejected, Routed
from tests.harness.processes.catalogues import catalogue

NOW_MS = 1_800_000_000_000
CATALOGUE = load_catalogue(
    catalogue(
        {"embed": ("large",), "embed_old": ("old",)},
        models={
            "large": {"context_tokens": 100, "embedding": {"dimensions": 64, "shortens": True}},
            "old": {"context_tokens": 100, "embedding": {"dimensions": 32}},
        },
        roles={"embed": {"timeouts": {"total_s": 30, "batch_total_s": 7_200, "first_token_s": 5}}},
    ),
    source="test",
    env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
)
SERVED = (*ROLES, "embed_old")


def inbound(body: Any = None, **fields: Any) -> InboundRequest:
    request = {"id": "r1", "client": "c1", "body": {"input": "hello"} if body is None else body, **fields}
    return InboundRequest(
        subject="llm.request.demo.embed", data=json.dumps(request).encode(), headers={}, stored_ms=NOW_MS
    )


def decided(event: InboundRequest, in_catalogue: Catalogue = CATALOGUE) -> Routed | Rejected:
    outcome = decide(event, in_catalogue, SERVED, NOW_MS)
    assert not isinstance(outcome, BodyNeeded)
    return outcome


def rejected(event: InboundRequest, in_catalogue: Catalogue = CATALOGUE) -> Rejected:
    outcome = decided(event, in_catalogue)
    assert isinstance(outcome, Rejected)
    return outcome


def routed(event: InboundRequest) -> Routed:
    outcome = decided(event)
    assert isinstance(outcome, Routed), outcome
    return outcome


def test_h2_an_embed_request_goes_to_the_role_embed() -> None:
    outcome = routed(inbound({"input": ["a", "b"], "model": "ignored", "encoding_format": "base64"}))
    work = outcome.work
    assert (work.kind, work.role, work.complexity, work.stream) == ("embed", "embed", "simple", False)
    assert work.why == "role named in the request; 2 inputs to embed"
    assert work.deadline_ms == NOW_MS + 30_000
    assert json.loads(bytes(work.body))["input"] == ["a", "b"]
    assert (outcome.max_tokens, outcome.unclear_text) == (None, "")
    assert routed(inbound(lane="batch")).work.deadline_ms == NOW_MS + 7_200_000


def test_h4_a_worker_is_told_whether_to_store_the_vectors() -> None:
    assert routed(inbound()).work.store
    assert not routed(inbound(store=False)).work.store


def test_k2_an_embedding_model_is_routed_to_its_implicit_role() -> None:
    work = routed(inbound(model="old")).work
    assert (work.role, work.why) == (implicit_role("old"), "model named in the request; one input to embed")
    assert routed(inbound(role="embed_old")).work.role == "embed_old"
    assert routed(inbound(role="auto")).work.role == "embed"


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"role": "chat"}, "invalid_request", "the role chat answers chat requests"),
        ({"role": "coding"}, "invalid_request", "the roles for it are embed, embed_old"),
        ({"model": "m-chat"}, "invalid_request", "the model m-chat answers chat requests"),
        ({"role": "embedd"}, "unknown_role", "the roles are embed, embed_old"),
        ({"model": "larg"}, "unknown_role", "a model of a similar name is large"),
        ({"model": "old", "role": "embed_old"}, "invalid_request", "name one of them"),
    ],
)
def test_h2_a_role_or_model_that_makes_no_vectors_is_rejected_with_those_that_do(
    fields: dict[str, str], code: str, message: str
) -> None:
    outcome = rejected(inbound(**fields))
    assert outcome.code == code
    assert message in outcome.message


def test_h2_a_catalogue_without_embedding_models_says_what_to_add() -> None:
    without = load_catalogue(catalogue(), source="test", env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"})
    outcome = rejected(inbound(), without)
    assert outcome.code == "kind_not_served"
    assert "add a model with a section embedding" in outcome.message


@pytest.mark.parametrize(
    ("written", "inputs", "tokens"),
    [
        ("hello there", 1, 3),
        (["hello there"] * 10, 10, 30),
        ([1, 2, 3], 1, 3),
        ([[1, 2], [3]], 2, 3),
    ],
)
def test_h2_every_shape_of_input_is_read(written: Any, inputs: int, tokens: int) -> None:
    features = extract_embed_features(json.dumps({"input": written}).encode())
    assert features.inputs == inputs
    assert features.estimated_tokens == pytest.approx(tokens, abs=3)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "input", "input is missing"),
        ({"input": None}, "input", "input must be a text, a list of texts"),
        ({"input": {"a": 1}}, "input", "input must be a text, a list of texts"),
        ({"input": ""}, "input", "input is empty"),
        ({"input": []}, "input", "input is empty"),
        ({"input": ["a", "b", ""]}, "input[2]", "input[2] is empty"),
        ({"input": [[1], []]}, "input[1]", "input[1] is empty"),
        ({"input": ["a", "b", "c", 4]}, "input[3]", "input[3] must be"),
        ({"input": [1, "a"]}, "input[1]", "input[1] must be"),
        ({"input": [[1], [2, -1]]}, "input[1][1]", "input[1][1] must be a token"),
        ({"input": [[1], ["a"]]}, "input[1][0]", "input[1][0] must be a token"),
        ({"input": [1.5]}, "input[0]", "input[0] must be"),
        ({"input": "a", "dimensions": 0}, "dimensions", "dimensions must be a positive integer, not 0"),
        ({"input": "a", "dimensions": "64"}, "dimensions", "dimensions must be a positive integer, not text"),
        ({"input": "a", "dimensions": True}, "dimensions", "dimensions must be a positive integer, not true"),
        ({"input": ["a"] * (MAX_INPUTS + 1)}, "input", "input has 2,049 elements; the limit is 2,048"),
        (["a"], "body", "the body must be an object, not a list"),
        ({"input": [[0] * 1_000] * 501}, "body", "the body has more than 500,000 values"),
    ],
)
def test_k1_an_invalid_body_names_the_field(body: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        extract_embed_features(json.dumps(body).encode())
    assert caught.value.field == field
    assert message in str(caught.value)


def test_h2_the_most_inputs_are_taken() -> None:
    assert extract_embed_features(json.dumps({"input": ["a"] * MAX_INPUTS}).encode()).inputs == MAX_INPUTS


@pytest.mark.parametrize(
    ("fields", "dimensions", "message"),
    [
        ({}, 16, None),
        ({}, 64, None),
        ({}, 65, "the vectors of the model large have 64 dimensions"),
        ({"model": "old"}, 32, None),
        ({"model": "old"}, 16, "it cannot shorten them"),
    ],
)
def test_h2_dimensions_are_those_that_the_model_can_make(
    fields: dict[str, str], dimensions: int, message: str | None
) -> None:
    event = inbound({"input": "a", "dimensions": dimensions}, **fields)
    if message is None:
        assert routed(event).work.kind == "embed"
    else:
        outcome = rejected(event)
        assert outcome.code == "invalid_request"
        assert message in outcome.message


def test_h2_the_context_is_a_limit_of_each_text_and_not_of_all_together() -> None:
    assert routed(inbound({"input": ["word " * 60] * 50})).work.estimated_tokens > 1_000
    assert routed(inbound({"input": [[1] * 100] * 50})).work.estimated_tokens == 5_000
    for too_long in ("word " * 500, [1] * 101):
        outcome = rejected(
            inbound({"input": [[1], too_long] if isinstance(too_long, list) else ["a", too_long]})
        )
        assert outcome.code == "context_length_exceeded"
        assert outcome.message.startswith("input[1] has about ")


def test_h2_a_stored_body_is_asked_for_and_then_routed() -> None:
    ref = {"size": 9_000_000, "sha256": "0" * 64}
    event = inbound(body_ref=ref)
    event = replace(event, data=event.data.replace(b'{"input": "hello"}', b"null"))
    needed = decide(event, CATALOGUE, SERVED, NOW_MS)
    assert isinstance(needed, BodyNeeded)
    assert (needed.kind, needed.address.id) == ("embed", "r1")
    features = extract_stored_features(needed.kind, b'{"input":["a","b"]}')
    work = routed(replace(event, stored_features=features)).work
    assert (work.kind, work.body, work.body_ref) == ("embed", NO_BODY, BodyRef(**ref))


def test_h2_a_rejected_job_has_the_role_for_embeddings() -> None:
    job = job_of(inbound({"input": []}, lane="batch"))
    assert job is not None
    assert (job.role, job.state) == ("embed", "queued")
    assert job_of(inbound()) is None
