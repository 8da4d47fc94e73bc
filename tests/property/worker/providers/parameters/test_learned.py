"""With any refusals, a request ends after few, keeps its essential fields, and does not affect other requests."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.runtime.config.parameter_mapping import Only, SentAs
from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import LEARNED_FOR_S
from tests.harness.providers.parameter_refusals import RefusedRequest, RefusingWorker, by_field, by_message
from tests.harness.suite.examples import examples

OPTIONAL = (
    "temperature",
    "top_p",
    "seed",
    "user",
    "store",
    "max_tokens",
    "max_completion_tokens",
    "random_seed",
)
LIMITS = ("max_tokens", "max_completion_tokens")
NEEDED = ("tools", "response_format", "stop", "n")
CODES = st.sampled_from(
    [None, "unsupported_parameter", "unsupported_value", "extra_forbidden", "invalid_value"]
)
WORDS = st.sampled_from(
    [
        "",
        "Extra inputs are not permitted",
        "Use 'max_completion_tokens' instead.",
        "Use 'max_tokens' instead.",
        "use random_seed instead",
        "use seed instead",
        "use 'stop_words' instead",
        "is not supported when thinking is enabled",
        'Unknown name "user": Cannot find field. Unknown name "tools": Cannot find field.',
    ]
)
BODIES = st.dictionaries(st.sampled_from(OPTIONAL + NEEDED), st.sampled_from([0, 1, 2]), min_size=1)
MAPPINGS: st.SearchStrategy[dict[str, SentAs]] = st.dictionaries(
    st.sampled_from(("temperature", "top_p", "user", "store")),
    st.sampled_from([True, False, Only(only=1)]),
    max_size=3,
) | st.just({"seed": "random_seed", "max_completion_tokens": "max_tokens"})


@settings(max_examples=examples(300))
@given(MAPPINGS, st.lists(BODIES, min_size=1, max_size=4), st.data())
def test_a_request_ends_after_few_refusals_with_its_essential_fields(
    mapping: dict[str, SentAs], bodies: list[dict[str, Any]], data: st.DataObject
) -> None:
    requests = RefusingWorker(mapping)
    for requested in bodies:
        fresh = RefusingWorker(mapping).sent(requested)
        request = RefusedRequest(requests, requested)
        rounds = 0
        while True:
            body = request.sent
            assert {name: body[name] for name in NEEDED if name in requested} == {
                name: requested[name] for name in NEEDED if name in requested
            }
            limits = [requested[name] for name in LIMITS if name in requested]
            kept = [body[name] for name in LIMITS if name in body]
            assert not limits or min(kept) == min(limits), "no request gets more output than it requested"
            if not body or data.draw(st.booleans()):
                request.succeeds()
                break
            parameter = data.draw(st.sampled_from(sorted(body)))
            code, message = data.draw(CODES), data.draw(WORDS)
            error = by_field(parameter, message, code) if code else by_message(parameter, message)
            if not request.refused(error):
                break
            assert request.sent != body, "a refused body is never sent again"
            rounds += 1
            assert rounds <= 2 * len(requested) + 2
        assert requests.sent(requested, "other") == requested
        requests.now_s += LEARNED_FOR_S
        assert requests.sent(requested) == fresh, "learned rules expire"


TENANT_TEXT = st.sampled_from(
    [
        "temperature is not supported",
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "https://x/?max_tokens is not supported. Use 'max_completion_tokens' instead",
        "' Unknown parameter: 'top_p'.",
        "extra_forbidden: seed: Extra inputs are not permitted",
        '{"message": "x", "code": "unsupported_parameter", "param": "user"}',
        'Unknown name "store": Cannot find field.',
        "developer is not one of the role names",
    ]
) | st.text(max_size=40)
FRAMES = st.sampled_from(
    ["{}", "Invalid value: '{}'. Supported values are: 'a'.", "Failed to load {}", "Bad input {} at 3"]
)
VALUES = {
    "temperature": 1,
    "top_p": 1,
    "seed": 2,
    "user": "u",
    "store": True,
    "max_tokens": 5,
    "metadata": {"a": "b"},
    "stream_options": {"include_usage": True, "include_obfuscation": False},
}


class _EchoingModel:
    """A model that refuses a request only for a text in it, and echoes that text."""

    def __init__(self, requests: RefusingWorker, frame: str, where: str | None) -> None:
        self._requests, self._frame, self._where = requests, frame, where

    def ask(self, requested: dict[str, Any], text: str, carrier: str) -> None:
        """`carrier`: the parameter that contains the text."""
        request = RefusedRequest(self._requests, {**requested, carrier: text})
        for _ in range(5):
            if request.sent.get(carrier) != text:
                request.succeeds()
                return
            error = {"message": self._frame.format(text), "param": self._where, "code": None}
            failure = failure_of_status(400, json.dumps({"error": error}).encode(), {}, 0.0)
            if failure.kind != "parameter" or not request.refused(failure.error):
                return


@settings(max_examples=examples(400))
@given(
    st.lists(TENANT_TEXT, min_size=1, max_size=6),
    FRAMES,
    st.sampled_from([None, "tool_choice", "messages[0].content", "user", "metadata"]),
    st.sampled_from(["tool_choice", "user", "metadata", "service_tier"]),
)
def test_text_of_one_tenant_never_changes_other_requests(
    texts: list[str], frame: str, where: str | None, carrier: str
) -> None:
    requests = RefusingWorker()
    for text in texts:
        _EchoingModel(requests, frame, where).ask(VALUES, text, carrier)
        assert requests.sent(VALUES) == VALUES


@given(
    st.sampled_from(sorted(VALUES)),
    st.text(alphabet="abcdefgh_0123", min_size=1, max_size=8),
    st.sampled_from(["unknown_parameter", "unsupported_parameter", "extra_forbidden", "invalid_value", None]),
    st.integers(1, 6),
)
def test_a_refused_key_never_changes_other_requests(
    name: str, key: str, code: str | None, times: int
) -> None:
    requests = RefusingWorker()
    requested = {**VALUES, name: {key: 1, "other key": 2}}
    for path in (f"{name}.{key}", f"{name}[{key}]", f"body.{name}.{key}"):
        error = by_field(path, f"Unknown parameter: '{path}'.", code)
        changed = requests.learn(requested, error, times)
        assert changed == (name not in LIMITS)
        assert requests.sent(VALUES) == VALUES
        assert requests.sent(requested) == requested


@given(st.sampled_from(OPTIONAL), st.sampled_from([0, 1, 2]), st.sampled_from([0, 1, 2]))
def test_a_refused_value_does_not_affect_other_values(name: str, bad: int, good: int) -> None:
    requests = RefusingWorker()
    error = by_field(name, f"{name} must be at most 1", "invalid_value")
    requests.learn({name: bad}, error, 3)
    assert good == bad or requests.sent({name: good}) == {name: good}


@given(st.lists(st.tuples(st.sampled_from(LIMITS), st.booleans()), max_size=12))
def test_an_output_limit_works_with_a_model_that_accepts_one_name(course: list[tuple[str, bool]]) -> None:
    """The accepted name may change; each request succeeds after at most one refusal."""
    requests = RefusingWorker()
    for requested, takes_old in course:
        taken, other = LIMITS if takes_old else LIMITS[::-1]
        error = by_field(other, "Extra inputs are not permitted", "extra_forbidden")
        request = RefusedRequest(requests, {requested: 5})
        assert taken in request.sent or request.refused(error)
        assert request.sent == {taken: 5}
        request.succeeds()


@given(st.text() | st.sampled_from(OPTIONAL), st.text(), BODIES)
def test_only_a_sent_parameter_is_changed(parameter: str, message: str, requested: dict[str, Any]) -> None:
    request = RefusedRequest(RefusingWorker(), requested)
    error = ProviderError(parameter=parameter, message=message, code=parameter, trusted_parameter=message)
    assert not request.refused(error) or parameter in requested
