"""The composed body of a provider request: defaults and ceilings of the role, rules of the model."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import Parameters, RoleConfig
from services.worker.providers.parameters.adapt import rules_of
from services.worker.providers.parameters.compose import compose

CHAT = RoleConfig(
    chain=("m",),
    parameters=Parameters(
        temperature=0.25, top_p=0.9, max_tokens=2000, frequency_penalty=0.1, presence_penalty=0.0
    ),
    ceilings=Parameters(max_tokens=4096),
)
CREATIVE = RoleConfig(
    chain=("m",),
    parameters=Parameters(temperature=0.4),
    ceilings=Parameters(temperature=0.4, max_tokens=4096),
)
BARE = RoleConfig(chain=("m",))


def composed(role=BARE, *, mapping=None, stream=False, **requested):
    body = json.dumps({"messages": [], **requested}).encode()
    sent, _ = compose(
        body, model="gpt-4o-mini", role=role, adaptation=rules_of(mapping or {}, "why"), stream=stream
    )
    fields = json.loads(sent)
    del fields["messages"], fields["model"], fields["stream"]
    return fields


def test_e1_the_body_of_the_application_is_sent_unchanged():
    body = (
        b'{"messages":[{"role":"user","content":"\\u0416 \xd0\xb6", "x" : 1.50}],'
        b'"model":"auto","seed":12345678901234567890,"tools":[ ]}'
    )
    sent, _ = compose(body, model="gpt-4o", role=BARE, stream=False)
    assert sent == body.replace(b'"auto"', b'"gpt-4o"')[:-1] + b',"stream":false}'


def test_streams_always_request_usage():
    sent = composed(stream=True, stream_options={"include_usage": False, "include_obfuscation": False})
    assert sent == {"stream_options": {"include_usage": True, "include_obfuscation": False}}
    for value in (None, 7, []):
        assert composed(stream=True, stream_options=value) == {"stream_options": {"include_usage": True}}
    assert composed(stream=False, stream_options={"include_usage": True}) == {}


def test_a4_role_parameters_fill_absent_ones():
    everything = {
        "temperature": 0.25,
        "top_p": 0.9,
        "max_tokens": 2000,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.0,
    }
    assert composed(CHAT) == everything
    assert composed(CHAT, temperature=None, max_tokens=None) == everything
    assert composed(CHAT, temperature=0.9, top_p=1) == everything | {"temperature": 0.9, "top_p": 1}


def test_an_output_limit_is_not_set_twice():
    assert "max_tokens" not in composed(CHAT, max_completion_tokens=7)
    assert composed(CHAT, max_tokens=7)["max_tokens"] == 7


@pytest.mark.parametrize("requested", [0.41, 2, "0.9", True, [], 10**400])
def test_a4_creative_never_exceeds_its_ceiling(requested):
    assert composed(CREATIVE, temperature=requested)["temperature"] == 0.4


def test_a4_an_absent_parameter_does_not_exceed_a_ceiling():
    role = RoleConfig(chain=("m",), ceilings=Parameters(temperature=0.4, max_tokens=100))
    assert composed(role) == {"temperature": 0.4, "max_tokens": 100}
    assert composed(role, temperature=0.1, max_tokens=5) == {"temperature": 0.1, "max_tokens": 5}


@pytest.mark.parametrize("requested", [9000, -1, 0, "9000", 1e9])
def test_c5_output_limits_are_lowered_to_the_ceiling(requested):
    assert composed(CHAT, max_tokens=requested)["max_tokens"] == 4096
    assert composed(CHAT, max_completion_tokens=requested)["max_completion_tokens"] == 4096


REASONING = {"max_tokens": "max_completion_tokens", "temperature": False, "top_p": False} | dict.fromkeys(
    ("frequency_penalty", "presence_penalty"), False
)


def test_role_parameters_are_adapted_to_the_model():
    assert composed(CHAT, mapping=REASONING) == {"max_completion_tokens": 2000}
    assert composed(CREATIVE, mapping=REASONING, temperature=1) == {"max_completion_tokens": 4096}
    assert composed(CHAT, mapping=REASONING, max_tokens=9000) == {"max_completion_tokens": 4096}


def test_a_model_may_refuse_stream_options():
    """The usage is then estimated."""
    body = b'{"messages":[]}'
    silent = compose(
        body, model="m", role=BARE, adaptation=rules_of({"stream_options": False}, ""), stream=True
    )
    assert silent == (b'{"messages":[],"model":"m","stream":true}', ()), (
        "the application did not request it, so no change is reported"
    )
    requested = b'{"messages":[],"stream_options":{"include_usage":true}}'
    sent, adapted = compose(
        requested, model="m", role=BARE, adaptation=rules_of({"stream_options": False}, "why"), stream=True
    )
    assert sent == silent[0]
    assert adapted == (Adapted(parameter="stream_options", change="omitted", why="why"),)


def test_reasoning_effort_is_added_and_capped():
    role = RoleConfig(
        chain=("m",),
        parameters=Parameters(reasoning_effort="low"),
        ceilings=Parameters(reasoning_effort="medium"),
    )
    assert composed(role) == {"reasoning_effort": "low"}
    assert composed(role, reasoning_effort="high") == {"reasoning_effort": "medium"}
    assert composed(role, reasoning_effort="utmost") == {"reasoning_effort": "medium"}
    assert composed(role, reasoning_effort="minimal") == {"reasoning_effort": "minimal"}
    assert composed(RoleConfig(chain=("m",), ceilings=Parameters(reasoning_effort="low"))) == {}


def test_penstock_fields_are_not_sent():
    assert composed(penstock={"role": "chat"}, penstock_lane="batch", metadata={"a": 1}) == {
        "metadata": {"a": 1}
    }


def test_a_duplicate_key_does_not_exceed_a_ceiling():
    body = b'{"temperature":0.1,"messages":[],"temperature":2}'
    sent, _ = compose(body, model="m", role=CREATIVE, stream=False)
    assert sent.count(b"temperature") == 1
    assert json.loads(sent)["temperature"] == 0.4


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a":', b"hello"])
def test_a_body_that_is_not_an_object_is_an_error(body):
    with pytest.raises(msgspec.DecodeError):
        compose(body, model="m", role=BARE, stream=True)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "max_tokens", "stream", "stream_options", "n", "é"]), JSON
    )
)
def test_ceilings_and_usage_hold_for_any_body(requested):
    sent = json.loads(compose(json.dumps(requested).encode(), model="m", role=CREATIVE, stream=True)[0])
    assert sent["temperature"] <= 0.4
    assert 0 < sent["max_tokens"] <= 4096
    assert sent["stream"] is True
    assert sent["stream_options"]["include_usage"] is True
    assert all(sent[name] == requested[name] for name in ("n", "é") if name in requested)
