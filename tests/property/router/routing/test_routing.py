"""The router reads any body or rejects it with a message; it never fails otherwise."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import COMPLEXITIES, ROLES
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.routing import Routing
from services.router.classification.normalize import compose, fold
from services.router.routing.complexity import assess
from services.router.routing.features import InvalidBody, extract_features
from services.router.routing.role import resolve

CATALOGUE = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
MESSAGE = JSON | st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "robot"])}, optional={"content": JSON, "tool_calls": JSON}
)
BODY = JSON | st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3) | JSON},
    optional={"stream": JSON, "max_tokens": JSON, "n": JSON, "model": JSON, "tools": JSON},
)


def read_or_refuse(body: bytes) -> None:
    refusal = ""
    try:
        features = extract_features(body)
    except InvalidBody as refused:
        refusal = refused.problem
    if refusal:
        assert "`" not in refusal or "JSON" in refusal
        return
    assert features.estimated_tokens > 0
    assert resolve("auto", features, CATALOGUE, ROLES).why
    assert assess(features, Routing()).complexity in COMPLEXITIES


@given(BODY)
def test_any_json_is_read_or_rejected(body: object) -> None:
    read_or_refuse(json.dumps(body).encode())


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_rejected(body: bytes) -> None:
    read_or_refuse(body)


@given(st.text(max_size=200))
def test_any_text_is_routed(text: str) -> None:
    read_or_refuse(json.dumps({"messages": [{"role": "user", "content": text}]}).encode())


@given(st.text(max_size=50) | st.text(alphabet="İIıiŞşẞßЁё\u0307\u0327", max_size=20))
def test_folding_keeps_the_position_of_every_letter(text: str) -> None:
    assert len(fold(compose(text))) == len(compose(text))
