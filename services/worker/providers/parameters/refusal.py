"""Reads what a refusal says of the parameters that were sent, and what may be concluded for other requests. Pure.

A provider repeats what a request says, so its words prove little: `evidence` tells how much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from penstock.runtime.config.takes import ROLE_SUFFIX
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.adapt import role_of

__all__ = ["OUTPUT_LIMITS", "Evidence", "Refused", "read_refusal"]

Evidence = Literal["none", "weak", "strong"]
"""Of a refusal, for other requests: none; some, if several requests meet with it; enough alone."""

_OMITTABLE: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "top_a",
        "min_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "random_seed",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "stream_options",
        "reasoning",
        "reasoning_effort",
        "reasoning_format",
        "include_reasoning",
        "thinking",
        "thinking_budget",
        "enable_thinking",
        "verbosity",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""How an answer is sampled, counted or filed. Without anything else (tools, response_format, stop, n, ...) it would be
another answer than was asked for."""
OUTPUT_LIMITS: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""An output limit is never left out: it is what a call may cost."""
_SAME_MEANING: Final = {"seed": "random_seed", "random_seed": "seed", "user": "safety_identifier"}
"""The only names that a refusal may tell to use instead."""
_INSTEAD_OF_ROLE: Final = {"developer": "system", "system": "user"}
_USAGE_OF_STREAMS: Final = ("stream_options", b'{"include_usage":true}')
_VALUE_BYTES: Final = 256
"""Nothing is concluded from a longer value."""

_NAME_CODES: Final = frozenset(
    {"unsupported_parameter", "unknown_parameter", "unrecognized_parameter", "extra_forbidden"}
)
"""Codes that refuse a parameter whatever its value."""
_VALUE_CODES: Final = frozenset(
    {
        "unsupported_value",
        "invalid_value",
        "decimal_above_max_value",
        "decimal_below_min_value",
        "integer_above_max_value",
        "integer_below_min_value",
    }
)
_Q: Final = r"[`'\"]?"
_N: Final = rf"{_Q}NAME{_Q}"
_THING: Final = r"(?:request )?(?:keyword )?(?:parameter|argument|field|property|name)"
_SENTENCES: Final = (
    rf"unsupported parameter: {_N}(?: is not supported with this model)?\.?(?: use {_Q}\w+{_Q} instead\.?)?",
    (
        rf"(?:unsupported value: )?{_N} does not support [\d.\-]+(?: with this model)?\."
        r" only the default(?: \([\d.]+\))? value is supported\.?"
    ),
    rf"(?:unknown|unrecognized|unexpected) {_THING}s?(?: supplied)?: {_N}\.?",
    rf"(?:body\.)?{_N}: extra inputs are not permitted\.?",
    r"(?:(?:invalid json payload received\. )?unknown name \\?\"\w+\\?\": cannot find field\.\s*)+",
    rf"(?:property )?{_N} is (?:un|not )supported(?: (?:with|by|for) this model)?\.?",
    rf"{_N} is deprecated for this model\.?",
    rf"argument not supported on this model: {_N}",
    rf"model [\w.:/\-]{{1,64}} does not support parameter {_N}\.?",
)
"""Whole messages of providers, in lower case."""
_NAMELESS: Final = (r"extra inputs are not permitted\.?", r"(?:unsupported|unknown) parameter\.?")
"""The same where a field of the error names the parameter."""
_WORDS: Final = (
    rf"un(?:supported|known|recogni[sz]ed|expected) (?:{_THING}s?)?(?: supplied)?:? ?{_N}",
    rf"{_N}:? (?:extra (?:inputs|fields?|properties)|additional properties) (?:are |is )?not (?:permitted|allowed)",
    rf"additional properties are not allowed \({_N} was unexpected",
    rf"(?:not|n't) (?:support|accept|take|recogni[sz]e) (?:the )?(?:(?:parameter|field)s?:? )?{_N}(?!\w)",
    rf"{_N} (?:parameter )?is(?: not|n't| no longer) (?:a )?(?:support|allow|permitt|accept|availab|recogni)",
    rf"{_N} is (?:unsupported|deprecated)",
)
"""Words anywhere in a message."""
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
"""The refusal is for what else the request says."""
_INSTEAD: Final = re.compile(
    r"\buse (?:the )?(?:parameter )?[`'\"]?([a-z][a-z0-9_]*)[`'\"]?(?: parameter)? instead", re.IGNORECASE
)
_UNKNOWN_NAMES: Final = re.compile(r"unknown name \\?\"([A-Za-z_]\w*)\\?\"", re.IGNORECASE)
"""Gemini names all of them in one refusal."""
_WORD_BREAK: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEGMENT: Final = re.compile(r"[^.\[\]'\"]+")
_QUOTED: Final = re.compile(r"\w+://\S+|(?<!\w)([`'\"])(?:(?!\1).)*\s(?:(?!\1).)*\1(?!\w)")
"""Addresses, and several words in quotes: what a provider repeats of a request."""
_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_LETTERS: Final = re.compile(r"[^a-z0-9]+")

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_messages: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Refused(Struct, frozen=True, kw_only=True):
    """One parameter of a body that a model did not take."""

    name: str
    """As it is called in the body; `developer_role` for that role of a message."""
    instead: str | None = None
    """The name to send it under, or the role; None: it is left out."""
    path: tuple[str, ...] = ()
    """The key within the parameter that is refused; empty: the parameter is."""
    value: bytes | None = None
    """The one value, as JSON, for which it is refused; None: it is refused whatever its value."""
    evidence: Evidence = "none"

    @property
    def is_role(self) -> bool:
        return self.name.endswith(ROLE_SUFFIX)


def read_refusal(error: ProviderError, sent: bytes) -> tuple[Refused, ...]:
    """What of the body `sent` is refused and can be sent otherwise. Empty: nothing."""
    fields = _decode_fields(sent)
    role = _role_named(error)
    if role is not None:
        return _refused_role(role, error, fields)
    refused: dict[str, Refused] = {}
    for path in (error.path or error.parameter or "", *_UNKNOWN_NAMES.findall(error.message)):
        name, within = _located(path, fields)
        if name and name not in refused:
            found = _refused(name, within or _within(name, error.message), error, fields, sent)
            if found is not None:
                refused[name] = found
    return tuple(refused.values())


def _located(path: str, fields: Mapping[str, Raw]) -> tuple[str, tuple[str, ...]]:
    """The parameter of the body that a path begins with, and the keys below it."""
    root, *within = _SEGMENT.findall(path.strip().removeprefix("$.").removeprefix("body.")) or [""]
    for name in (root, _WORD_BREAK.sub("_", root).lower()):
        if name in fields:
            return name, tuple(within)
    return "", ()


def _within(name: str, message: str) -> tuple[str, ...]:
    """The keys that the message names below the parameter that a field of the error names."""
    found = re.search(rf"\b{re.escape(name)}(?:\.|\[['\"]?)(\w[\w.\-]*)", message)
    return tuple(_SEGMENT.findall(found[1])) if found else ()


def _refused(
    name: str, path: tuple[str, ...], error: ProviderError, fields: Mapping[str, Raw], sent: bytes
) -> Refused | None:
    """None: the request cannot do without it."""
    if name in OUTPUT_LIMITS:
        return None if path else _refused_limit(name, error, sent)
    if name not in _OMITTABLE:
        return None
    value = bytes(fields[name])
    if path and (name, value) == _USAGE_OF_STREAMS:  # every stream has it
        return Refused(name=name, value=value, evidence="weak")
    by_name = None if path else _evidence_of_name(name, error, sent)
    if by_name is not None:
        return Refused(name=name, instead=_replacement(name, error.message), evidence=by_name)
    return Refused(name=name, path=path) if path else _refused_value(name, value, error)


def _refused_limit(name: str, error: ProviderError, sent: bytes) -> Refused | None:
    """None: its value is refused."""
    evidence = _evidence_of_name(name, error, sent)
    if evidence is None and _replacement(name, error.message) is None:
        return None
    return Refused(name=name, instead=OUTPUT_LIMITS[name], evidence=evidence or "none")


def _refused_value(name: str, value: bytes, error: ProviderError) -> Refused:
    weak = _is_field(name, error) and not _VALUE_CODES.isdisjoint(error.trusted_names)
    weak = weak and len(value) <= _VALUE_BYTES and _CONDITION.search(error.message.lower()) is None
    return Refused(name=name, value=value, evidence="weak" if weak else "none")


def _evidence_of_name(name: str, error: ProviderError, sent: bytes) -> Evidence | None:
    """None: the refusal does not say that the parameter is refused whatever its value."""
    message = error.message.lower()
    is_field = _is_field(name, error)
    coded = is_field and not _NAME_CODES.isdisjoint(error.trusted_names)
    if _CONDITION.search(message):
        return "none" if coded or _said(_WORDS, name, message) else None
    if coded:
        return "strong"
    sentences = _SENTENCES + _NAMELESS if is_field else _SENTENCES
    if any(re.fullmatch(_spelled(sentence, name), message) for sentence in sentences):
        return "none" if _repeats(message, sent) else "strong"
    words = _said(_WORDS, name, _QUOTED.sub(" ", message))
    if words:
        return "none" if _repeats(words, sent) else "weak"
    return None


def _is_field(name: str, error: ProviderError) -> bool:
    """Whether a field of the error names exactly this parameter."""
    found, within = _located(error.trusted_parameter or "", {name: Raw(b"")})
    return found == name and not within


def _said(sentences: Iterable[str], name: str, message: str) -> str:
    """The first of the sentences that the message has."""
    matches = (re.search(_spelled(sentence, name), message) for sentence in sentences)
    return next((match[0] for match in matches if match), "")


def _spelled(sentence: str, name: str) -> str:
    return sentence.replace("NAME", rf"(?:{re.escape(name)}|{re.escape(name.replace('_', ''))})")


def _repeats(words: str, sent: bytes) -> bool:
    """Whether the words of a refusal stand in the request itself, however they are written there."""
    try:
        written = msgspec.json.encode(msgspec.json.decode(sent)).decode()
    except (ValueError, RecursionError):
        return True
    written = unquote(_ESCAPE.sub("", written)).lower()
    return _LETTERS.sub("", words.lower()) in _LETTERS.sub("", written)


def _replacement(name: str, message: str) -> str | None:
    """The name to use instead, where the refusal says so and the name is known for the same parameter."""
    found = _INSTEAD.search(message)
    same = OUTPUT_LIMITS.get(name) or _SAME_MEANING.get(name)
    return same if found is not None and found[1].lower() == same else None


def _role_named(error: ProviderError) -> str | None:
    parameter = error.parameter or ""
    path = error.path or ""
    for role in _INSTEAD_OF_ROLE:
        if path.startswith("messages") and path.endswith("role") and f"support '{role}'" in error.message:
            return role
    for role in _INSTEAD_OF_ROLE:
        if parameter == role + ROLE_SUFFIX:
            return role
    if parameter.startswith("messages") and parameter.endswith("role"):
        return next((role for role in _INSTEAD_OF_ROLE if role in error.message), None)
    return None


def _refused_role(role: str, error: ProviderError, fields: Mapping[str, Raw]) -> tuple[Refused, ...]:
    """Empty: no message that was sent has the role."""
    try:
        messages = _decode_messages(fields.get("messages", Raw(b"[]")))
    except msgspec.MsgspecError:
        return ()
    if not any(role_of(message) == role for message in messages):
        return ()
    message = error.message.lower()
    known = any(re.fullmatch(sentence.replace("ROLE", role), message) for sentence in _ROLE_SENTENCES)
    return (
        Refused(
            name=role + ROLE_SUFFIX, instead=_INSTEAD_OF_ROLE[role], evidence="strong" if known else "weak"
        ),
    )
