"""An embed request: the check of its body, and where it goes (H2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.contract.names import AUTO, EMBED, implicit_role
from penstock.contract.request import EmbedRequest
from penstock.contract.retrieval.embeddings import MAX_INPUTS, MAX_VALUES
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.tokens import text_tokens
from services.router.routing.body_errors import BODY_ERRORS, BodyProblems, InvalidBody, check_values
from services.router.routing.outcome import InvalidRequest
from services.router.routing.plan import Plan, check_dimensions, check_served
from services.router.routing.role import check_kind, role_and_model, unknown_name

__all__ = ["EmbedFeatures", "extract_embed_features", "plan_embed"]

_CONTEXT_MARGIN: Final = 0.8
"""Factor for an estimated length, which may be too high: then the provider decides."""
_PEEKED: Final = 64
"""Bytes that usually hold the first element of a list, so that a long one is not copied to look for it."""
_NO_RAW: Final = Raw(b"")
_PROBLEMS: Final = BodyProblems(
    {
        "body": "an object",
        "input": "a text, a list of texts, a list of tokens or a list of lists of tokens",
        "input[]": "a text, a token or a list of tokens, as the first element",
        "input[][]": "a token, which is an integer of at least 0",
        "dimensions": "a positive integer",
    }
)
_Token = Annotated[int, Meta(ge=0, lt=2**31)]


class EmbedFeatures(Struct, frozen=True, kw_only=True):
    """The properties of an embeddings body that decide where it goes."""

    inputs: int
    estimated_tokens: int
    longest: str
    """The field of the longest input, as `input[3]`."""
    longest_tokens: int
    """Its tokens: estimated low for a text, exact for a token array."""
    dimensions: int | None = None


class _Body(Struct):
    input: Raw = _NO_RAW
    dimensions: int | None = None


_DECODER: Final = msgspec.json.Decoder(_Body)
_TEXT: Final = msgspec.json.Decoder(str)
_TEXTS: Final = msgspec.json.Decoder(list[str])
_TOKENS: Final = msgspec.json.Decoder(list[_Token])
_TOKEN_LISTS: Final = msgspec.json.Decoder(list[list[_Token]])


def extract_embed_features(body: Raw | bytes | bytearray) -> EmbedFeatures:
    """Raises InvalidBody for an embeddings body that no provider would take."""
    check_values(body, MAX_VALUES)
    try:
        decoded = _DECODER.decode(body)
    except BODY_ERRORS as error:
        raise _PROBLEMS.of(error) from error
    if decoded.dimensions is not None and decoded.dimensions <= 0:
        raise _PROBLEMS.wrong("dimensions", f"{decoded.dimensions:,}")
    if not decoded.input:
        raise InvalidBody("input", "input is missing: it is what to embed")
    inputs, is_list = _inputs(decoded.input)
    _check_inputs(inputs, is_list=is_list)
    at = max(range(len(inputs)), key=lambda index: len(inputs[index]))
    if isinstance(inputs[at], str):
        tokens, longest = text_tokens("\n".join(inputs)), text_tokens(inputs[at]) * _CONTEXT_MARGIN
    else:
        tokens, longest = sum(map(len, inputs)), len(inputs[at])
    return EmbedFeatures(
        inputs=len(inputs),
        estimated_tokens=max(1, round(tokens)),
        longest=f"input[{at}]" if is_list else "input",
        longest_tokens=int(longest),
        dimensions=decoded.dimensions,
    )


def _inputs(written: Raw) -> tuple[Sequence[Any], bool]:
    """The texts or token arrays, and whether the field is a list of them."""
    text = bytes(written)
    if text[:1] == b'"':
        return [_decode(_TEXT, text)], False
    if text[:1] != b"[":
        raise _PROBLEMS.wrong("input")
    first = text[1:_PEEKED].lstrip()[:1] or text[1:].lstrip()[:1]
    if first == b"[":
        return _decode(_TOKEN_LISTS, text), True
    if first in {b'"', b"]"}:
        return _decode(_TEXTS, text), True
    return [_decode(_TOKENS, text)], False


def _decode(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except BODY_ERRORS as error:
        raise _PROBLEMS.of(error, "input") from error


def _check_inputs(inputs: Sequence[Any], *, is_list: bool) -> None:
    if not inputs:
        raise InvalidBody("input", "input is empty: there is nothing to embed")
    if len(inputs) > MAX_INPUTS:
        raise InvalidBody("input", f"input has {len(inputs):,} elements; the limit is {MAX_INPUTS:,}")
    empty = next((index for index, each in enumerate(inputs) if not each), None)
    if empty is not None:
        field = f"input[{empty}]" if is_list else "input"
        raise InvalidBody(field, f"{field} is empty: there is nothing to embed")


def plan_embed(
    request: EmbedRequest, features: EmbedFeatures, catalogue: Catalogue, served: Collection[str]
) -> Plan:
    """Raises InvalidRequest."""
    role, why = _role(request, catalogue)
    config = catalogue.all_roles[role]
    check_served(role, catalogue, served)
    check_dimensions("dimensions", features.dimensions, config.chain, catalogue)
    context = max(catalogue.models[key].context_tokens for key in config.chain)
    if features.longest_tokens > context:
        raise InvalidRequest(
            f"{features.longest} has about {features.longest_tokens:,} tokens; the models of the role read {context:,}",
            "context_length_exceeded",
        )
    timeouts = config.timeouts
    count = "one input" if features.inputs == 1 else f"{features.inputs:,} inputs"
    return Plan(
        role=role,
        complexity="simple",
        why=f"{why}; {count} to embed",
        total_s=timeouts.batch_total_s if request.lane == "batch" else timeouts.total_s,
        estimated_tokens=features.estimated_tokens,
    )


def _role(request: EmbedRequest, catalogue: Catalogue) -> tuple[str, str]:
    """The role, and why it was chosen. `auto` is the role `embed`."""
    if not catalogue.roles_of_kind("embed") and not request.model:
        message = (
            f"the catalogue {catalogue.name} has no role for embeddings: add a model with a section embedding, and a "
            f"role {EMBED} with it in its chain"
        )
        raise InvalidRequest(message, "kind_not_served")
    if request.model:
        if request.role not in {EMBED, AUTO}:
            raise role_and_model(request.role, request.model)
        if request.model not in catalogue.models:
            raise unknown_name("model", request.model, catalogue, "embed")
        role, why = implicit_role(request.model), "model named in the request"
    else:
        role = EMBED if request.role == AUTO else request.role
        if role not in catalogue.all_roles:
            raise unknown_name("role", role, catalogue, "embed")
        why = "role named in the request" if request.role != AUTO else "the role for embeddings"
    check_kind(role, "embed", catalogue)
    return role, why
