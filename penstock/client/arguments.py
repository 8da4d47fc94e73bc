"""Check the arguments of the client before anything is sent. Every wrong one is a ValueError that names the fix."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from inspect import currentframe
from numbers import Real
from typing import Any, Final

import msgspec

from penstock.bus.masking import without_userinfo
from penstock.bus.server_address import is_server_address, servers_of
from penstock.contract import subjects
from penstock.contract.field_problem import field_problem
from penstock.contract.names import AUTO, Lane
from penstock.contract.request import LONGEST_S
from penstock.contract.retrieval.search import Rag

__all__ = [
    "RagOptions",
    "check_body",
    "check_choice",
    "check_conversation",
    "check_position",
    "check_role_or_model",
    "check_servers",
    "check_text",
    "check_timeout",
    "check_token",
    "check_wait",
    "encoded_body",
    "messages_of",
    "rag_of",
]

_PROMPT: Final = "use a text or a list of OpenAI messages"
_OWN: Final = (
    "role",
    "model",
    "user",
    "lane",
    "timeout_s",
    "degrade",
    "rescue",
    "complexity",
    "rag",
    "conversation",
    "cancel_on_exit",
)
RagOptions = str | Rag | Mapping[str, Any]
"""The name of a collection, or all options of retrieval."""
_NEAR: Final = 0.7
"""Similarity (difflib) from which a keyword is probably a misspelled one of `_OWN`."""
_MEANT: Final = {
    "cancel_on_exit": "only `stream` has that argument",
    "lane": "a job is always in the batch lane",
    "system": "for a system prompt begin the messages with {'role': 'system', 'content': '…'}",
}


def check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}: use a text")  # noqa: TRY004 - one error for every wrong argument


def check_token(what: str, text: object) -> None:
    """Refuse wildcards, which would reach the requests of other clients."""
    if not isinstance(text, str) or not subjects.is_token(text):
        raise ValueError(f"{text!r} is not {what}: use 1 to 64 of A-Z a-z 0-9 _ -")


def check_servers(url: str) -> None:
    check_text("the address of a NATS server", url)
    for server in servers_of(url):
        if not is_server_address(server):
            raise ValueError(
                f"{without_userinfo(server)!r} is not the address of a NATS server: use nats://host:4222, or several "
                "with commas between"
            )


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}: use one of {', '.join(map(str, choices))}")


def check_role_or_model(role: object, model: object, default: str = AUTO) -> None:
    """`default`: the role of a call that names none."""
    check_text("role", role)
    check_text("model", model)
    if model and role != default:
        raise ValueError(f"role is {role!r} and model is {model!r}: name one of them")


def check_conversation(conversation: object, user: str) -> None:
    check_text("conversation", conversation)
    if conversation and not user:
        raise ValueError("conversation needs user: what was said is remembered for each user")


def rag_of(rag: RagOptions) -> Rag:
    """The options as the request carries them."""
    if isinstance(rag, str):
        rag = {"collection": rag}
    if not isinstance(rag, Rag | Mapping):
        raise ValueError(f"rag is {rag!r}: use the name of a collection, or a Rag")  # noqa: TRY004 - as every other one
    fields = msgspec.to_builtins(rag) if isinstance(rag, Rag) else dict(rag)
    unknown = [name for name in fields if name not in Rag.__struct_fields__]
    if unknown:
        raise ValueError(f"rag has no field {unknown[0]!r}: use {', '.join(Rag.__struct_fields__)}")
    try:
        return msgspec.convert(fields, Rag)
    except msgspec.ValidationError as error:
        raise ValueError(field_problem(error, "rag").problem) from error


def check_timeout(timeout_s: object, lane: Lane) -> None:
    """The router would reduce a later deadline to the longest of the lane."""
    if timeout_s is None:
        return
    seconds, longest_s = _seconds(timeout_s), LONGEST_S[lane]
    if not 0 < seconds <= longest_s:
        raise ValueError(
            f"timeout_s is {seconds:g}: use seconds greater than 0 and at most {longest_s} in the {lane} lane"
        )


def check_wait(timeout_s: object) -> None:
    """For how long a call waits."""
    seconds = _seconds(timeout_s)
    if not seconds > 0:
        raise ValueError(f"timeout_s is {seconds:g}: use seconds greater than 0")


def check_position(after_seq: object) -> None:
    """After which event a reply is read."""
    if not isinstance(after_seq, int):
        raise ValueError(f"after_seq is {after_seq!r}: use the seq of an event")  # noqa: TRY004 - as every other one


def _seconds(timeout_s: object) -> float:
    if not isinstance(timeout_s, Real):
        raise ValueError(f"timeout_s is {timeout_s!r}: use a number of seconds")  # noqa: TRY004 - as every other one
    return float(timeout_s)


def encoded_body(body: Mapping[str, Any]) -> bytes:
    """The OpenAI body as JSON. Raises ValueError for a value that JSON lacks."""
    try:
        return msgspec.json.encode(body)
    except (TypeError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(f"the request cannot be written as JSON: {error}") from error


def check_body(body: Mapping[str, Any]) -> None:
    """Warn of each keyword that was probably meant for Penstock: the provider receives it, or rejects it.

    It is no error, since a provider may have a parameter of that name.
    """
    if "messages" in body:
        raise ValueError("messages is given twice: the prompt is the text or the list of messages")
    for name in body:
        advice = _advice(name)
        if advice is not None:
            warnings.warn(f"the keyword {name!r} {advice}", UserWarning, stacklevel=_level_of_caller())


@lru_cache(256)
def _advice(name: str) -> str | None:
    meant = _meant(name)
    return None if meant is None else f"is not an argument of Penstock and goes to the provider: {meant}"


def _meant(name: str) -> str | None:
    near = get_close_matches(name, _OWN, n=1, cutoff=_NEAR)
    return _MEANT.get(name) or (f"did you mean {near[0]!r}?" if near else None)


def _level_of_caller() -> int:
    """The stack level of the application, for a warning that the calling function issues."""
    level, frame = 0, currentframe()
    while frame is not None and frame.f_globals["__name__"].startswith("penstock.client."):
        level, frame = level + 1, frame.f_back
    return level


def messages_of(prompt: object) -> list[Any]:
    """OpenAI `messages` of a prompt. Raises ValueError for a prompt that is empty or of another type."""
    if isinstance(prompt, str):
        if prompt:
            return [{"role": "user", "content": prompt}]
        messages: list[Any] = []
    elif isinstance(prompt, Iterable) and not isinstance(prompt, Mapping):
        messages = list(prompt)
    else:
        raise ValueError(f"the prompt is {prompt!r}: {_PROMPT}")  # noqa: TRY004 - one error for every wrong prompt
    if not messages:
        raise ValueError(f"the prompt is empty: {_PROMPT}")
    for message in messages:
        if not isinstance(message, Mapping):
            raise ValueError(f"the prompt holds {message!r}, which is not an OpenAI message: {_PROMPT}")  # noqa: TRY004 - one error for every wrong prompt
    return messages
