"""Reads which parameters of a sent body a refusal concerns, and how strong the evidence is for other requests. Pure.

A provider's message may echo the request, so its text alone is weak evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.config.parameter_mapping import ROLE_SUFFIX
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.adapt import OUTPUT_LIMITS, role_of
from services.worker.providers.raw_json import decode_fields

__all__ = ["RefusedParameter", "read_refusal"]

Evidence = Literal["none", "weak", "strong"]
"""The evidence of one refusal for other requests: none, enough together with others like it, enough alone."""

_OMITTABLE: Final = frozenset(
    {"temperature", "top_p", "top_k", "top_a", "min_p", "typical_p", "seed", "random_seed"}
    | {"repetition_penalty", "length_penalty", "frequency_penalty", "presence_penalty"}
    | {"logit_bias", "logprobs", "top_logprobs", "verbosity", "parallel_tool_calls", "prediction"}
    | {"user", "safety_identifier", "metadata", "store", "service_tier", "stream_options"}
    | {"reasoning", "reasoning_effort", "reasoning_format", "include_reasoning"}
    | {"thinking", "thinking_budget", "enable_thinking", "prompt_cache_key", "prompt_cache_retention"}
)
"""Parameters of sampling, accounting and storage. Without any other (tools, response_format, stop, n, ...) the answer
would not be the requested one."""
_SAME_MEANING: Final = {"seed": "random_seed", "random_seed": "seed", "user": "safety_identifier"}
"""Parameters with the same meaning: the only other names that a refusal may propose."""
_ROLE_REPLACEMENTS: Final = {"developer": "system", "system": "user"}
_STREAM_USAGE: Final = ("stream_options", b'{"include_usage":true}')
_MAX_VALUE_BYTES: Final = 256
"""Bytes of a value above which its refusal is no evidence."""

_NAME_CODES: Final = frozenset(
    {"unsupported_parameter", "unknown_parameter", "unrecognized_parameter", "extra_forbidden"}
)
"""Codes that refuse a parameter with any value."""
_VALUE_CODES: Final = frozenset(
    {"unsupported_value", "invalid_value", "decimal_above_max_value", "decimal_below_min_value"}
    | {"integer_above_max_value", "integer_below_min_value"}
)
_QUOTE: Final = r"[`'\"]?"
_NAMED: Final = rf"{_QUOTE}NAME{_QUOTE}"
_NOUN: Final = r"(?:request )?(?:keyword )?(?:parameter|argument|field|property|name)"
_REFUSAL_SENTENCES: Final = (
    (
        rf"unsupported parameter: {_NAMED}(?: is not supported with this model)?\.?"
        rf"(?: use {_QUOTE}\w+{_QUOTE} instead\.?)?"
    ),
    (
        rf"(?:unsupported value: )?{_NAMED} does not support [\d.\-]+(?: with this model)?\."
        r" only the default(?: \([\d.]+\))? value is supported\.?"
    ),
    rf"(?:unknown|unrecognized|unexpected) {_NOUN}s?(?: supplied)?: {_NAMED}\.?",
    rf"(?:body\.)?{_NAMED}: extra inputs are not permitted\.?",
    r"(?:(?:invalid json payload received\. )?unknown name \\?\"\w+\\?\": cannot find field\.\s*)+",
    rf"(?:property )?{_NAMED} is (?:un|not )supported(?: (?:with|by|for) this model)?\.?",
    rf"{_NAMED} is deprecated for this model\.?",
    rf"argument not supported on this model: {_NAMED}",
    rf"model [\w.:/\-]{{1,64}} does not support parameter {_NAMED}\.?",
)
"""Patterns of whole messages, in lower case."""
_UNNAMED_SENTENCES: Final = (r"extra inputs are not permitted\.?", r"(?:unsupported|unknown) parameter\.?")
"""Patterns of whole messages that refuse a parameter named by a field of the error."""
_REFUSAL_PHRASES: Final = (
    rf"un(?:supported|known|recogni[sz]ed|expected) (?:{_NOUN}s?)?(?: supplied)?:? ?{_NAMED}",
    rf"{_NAMED}:? (?:extra (?:inputs|fields?|properties)|additional properties) (?:are |is )?not (?:permitted|allowed)",
    rf"additional properties are not allowed \({_NAMED} was unexpected",
    rf"(?:not|n't) (?:support|accept|take|recogni[sz]e) (?:the )?(?:(?:parameter|field)s?:? )?{_NAMED}(?!\w)",
    rf"{_NAMED} (?:parameter )?is(?: not|n't| no longer) (?:a )?(?:support|allow|permitt|accept|availab|recogni)",
    rf"{_NAMED} is (?:unsupported|deprecated)",
)
"""Patterns anywhere in a message."""
_ROLE_SENTENCES: Final = (
    r"unsupported value: 'messages\[\d+\]\.role' does not support 'ROLE' with this model\.?",
    (
        r"failed to deserialize the json body into the target type: messages\[\d+\]\.role: unknown variant `ROLE`,"
        r" expected one of [`\w, ]+(?: at line \d+ column \d+)?"
    ),
    r"unexpected message role: ROLE\.?",
)
_CONDITION: Final = re.compile(
    r"\b(?:when|unless|while|if|together|both|combin\w+|alongside|without|enabled)\b|\bwith (?!this model)"
)
"""Words of a refusal that depends on other parts of the request."""
_INSTEAD: Final = re.compile(
    r"\buse (?:the )?(?:parameter )?[`'\"]?([a-z][a-z0-9_]*)[`'\"]?(?: parameter)? instead", re.IGNORECASE
)
_UNKNOWN_NAMES: Final = re.compile(r"unknown name \\?\"([A-Za-z_]\w*)\\?\"", re.IGNORECASE)
"""Gemini names all unknown parameters in one refusal."""
_WORD_BREAK: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEGMENT: Final = re.compile(r"[^.\[\]'\"]+")
_ECHO: Final = re.compile(r"\w+://\S+|(?<!\w)([`'\"])(?:(?!\1).)*\s(?:(?!\1).)*\1(?!\w)")
"""URLs and quotes of several words, which may be an echo of the request."""
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_NOT_ALPHANUMERIC: Final = re.compile(r"[^a-z0-9]+")

_decode_messages: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class RefusedParameter(Struct, frozen=True, kw_only=True):
    """One parameter of a body that a model refused."""

    name: str
    """Its name in the body; `developer_role` for that role of a message."""
    instead: str | None = None
    """The name or role to send in its place; None: it is omitted."""
    path: tuple[str, ...] = ()
    """The refused key within the parameter; empty: the parameter itself is refused."""
    value: bytes | None = None
    """The refused value, as JSON; None: it is refused with any value."""
    evidence: Evidence = "none"

    @property
    def is_role(self) -> bool:
        return self.name.endswith(ROLE_SUFFIX)


def read_refusal(error: ProviderError, sent: bytes) -> tuple[RefusedParameter, ...]:
    """The refused parameters of the body `sent` that can be changed."""
    fields = decode_fields(sent)
    role = _role_named(error)
    if role is not None:
        return _refused_role(role, error, fields)
    refused: dict[str, RefusedParameter] = {}
    for path in (error.path or error.parameter or "", *_UNKNOWN_NAMES.findall(error.message)):
        name, within = _located(path, fields)
        if name and name not in refused:
            found = _refused(name, within or _within(name, error.message), error, fields, sent)
            if found is not None:
                refused[name] = found
    return tuple(refused.values())


def _located(path: str, fields: Mapping[str, Raw]) -> tuple[str, tuple[str, ...]]:
    """The parameter of the body that a path begins with, and the keys within it."""
    root, *within = _SEGMENT.findall(path.strip().removeprefix("$.").removeprefix("body.")) or [""]
    for name in (root, _WORD_BREAK.sub("_", root).lower()):
        if name in fields:
            return name, tuple(within)
    return "", ()


def _within(name: str, message: str) -> tuple[str, ...]:
    """The keys within the parameter that the message names."""
    found = re.search(rf"\b{re.escape(name)}(?:\.|\[['\"]?)(\w[\w.\-]*)", message)
    return tuple(_SEGMENT.findall(found[1])) if found else ()


def _refused(
    name: str, path: tuple[str, ...], error: ProviderError, fields: Mapping[str, Raw], sent: bytes
) -> RefusedParameter | None:
    """None for a parameter that cannot be omitted."""
    if name in OUTPUT_LIMITS:
        return None if path else _refused_limit(name, error, sent)
    if name not in _OMITTABLE:
        return None
    value = bytes(fields[name])
    if path and (name, value) == _STREAM_USAGE:  # in the body of every stream
        return RefusedParameter(name=name, value=value, evidence="weak")
    by_name = None if path else _evidence_of_name(name, error, sent)
    if by_name is not None:
        return RefusedParameter(name=name, instead=_replacement(name, error.message), evidence=by_name)
    return RefusedParameter(name=name, path=path) if path else _refused_value(name, value, error)


def _refused_limit(name: str, error: ProviderError, sent: bytes) -> RefusedParameter | None:
    """None if only the value is refused."""
    evidence = _evidence_of_name(name, error, sent)
    if evidence is None and _replacement(name, error.message) is None:
        return None
    return RefusedParameter(name=name, instead=OUTPUT_LIMITS[name], evidence=evidence or "none")


def _refused_value(name: str, value: bytes, error: ProviderError) -> RefusedParameter:
    weak = _is_field(name, error) and not _VALUE_CODES.isdisjoint(error.trusted_names)
    weak = weak and len(value) <= _MAX_VALUE_BYTES and _CONDITION.search(error.message.lower()) is None
    return RefusedParameter(name=name, value=value, evidence="weak" if weak else "none")


def _evidence_of_name(name: str, error: ProviderError, sent: bytes) -> Evidence | None:
    """The evidence that the parameter is refused with any value; None if the refusal does not say so."""
    message = error.message.lower()
    is_field = _is_field(name, error)
    coded = is_field and not _NAME_CODES.isdisjoint(error.trusted_names)
    if _CONDITION.search(message):
        return "none" if coded or _first_match(_REFUSAL_PHRASES, name, message) else None
    if coded:
        return "strong"
    sentences = _REFUSAL_SENTENCES + _UNNAMED_SENTENCES if is_field else _REFUSAL_SENTENCES
    if any(re.fullmatch(_for_name(sentence, name), message) for sentence in sentences):
        return "none" if _occurs_in(message, sent) else "strong"
    phrase = _first_match(_REFUSAL_PHRASES, name, _ECHO.sub(" ", message))
    if phrase:
        return "none" if _occurs_in(phrase, sent) else "weak"
    return None


def _is_field(name: str, error: ProviderError) -> bool:
    """Whether a field of the error names exactly this parameter."""
    found, within = _located(error.trusted_parameter or "", {name: Raw(b"")})
    return found == name and not within


def _first_match(sentences: Iterable[str], name: str, message: str) -> str:
    """The first text in the message that matches one of the sentences."""
    matches = (re.search(_for_name(sentence, name), message) for sentence in sentences)
    return next((match[0] for match in matches if match), "")


def _for_name(sentence: str, name: str) -> str:
    return sentence.replace("NAME", rf"(?:{re.escape(name)}|{re.escape(name.replace('_', ''))})")


def _occurs_in(text: str, sent: bytes) -> bool:
    """Whether the text of a refusal occurs in the request itself, in any escaping."""
    try:
        written = msgspec.json.encode(msgspec.json.decode(sent)).decode()
    except (ValueError, RecursionError):
        return True
    written = unquote(_ESCAPE.sub("", written)).lower()
    return _NOT_ALPHANUMERIC.sub("", text.lower()) in _NOT_ALPHANUMERIC.sub("", written)


def _replacement(name: str, message: str) -> str | None:
    """The name that the refusal proposes, if it is known to have the same meaning."""
    found = _INSTEAD.search(message)
    known = OUTPUT_LIMITS.get(name) or _SAME_MEANING.get(name)
    return known if found is not None and found[1].lower() == known else None


def _role_named(error: ProviderError) -> str | None:
    parameter = error.parameter or ""
    path = error.path or ""
    for role in _ROLE_REPLACEMENTS:
        if path.startswith("messages") and path.endswith("role") and f"support '{role}'" in error.message:
            return role
    for role in _ROLE_REPLACEMENTS:
        if parameter == role + ROLE_SUFFIX:
            return role
    if parameter.startswith("messages") and parameter.endswith("role"):
        return next((role for role in _ROLE_REPLACEMENTS if role in error.message), None)
    return None


def _refused_role(role: str, error: ProviderError, fields: Mapping[str, Raw]) -> tuple[RefusedParameter, ...]:
    """Empty if no sent message has the role."""
    try:
        messages = _decode_messages(fields.get("messages", Raw(b"[]")))
    except msgspec.MsgspecError:
        return ()
    if not any(role_of(message) == role for message in messages):
        return ()
    message = error.message.lower()
    known = any(re.fullmatch(sentence.replace("ROLE", role), message) for sentence in _ROLE_SENTENCES)
    return (
        RefusedParameter(
            name=role + ROLE_SUFFIX, instead=_ROLE_REPLACEMENTS[role], evidence="strong" if known else "weak"
        ),
    )
