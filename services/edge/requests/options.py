"""The options of a request for Penstock: `x-penstock-*` headers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta, Struct

from penstock.contract.keys import STREAM_RESCUE_PATTERN
from penstock.contract.names import LANES, Lane
from penstock.contract.request import LONGEST_S, LONGEST_WAIT_S
from services.edge.dialects.rag_options import rag_of_text
from services.edge.http.errors import HttpError
from services.edge.http.headers import Header
from services.edge.requests.rescue import read_rescue

__all__ = ["GivenOptions", "RequestOptions", "options_of", "read_options"]

_PREFIX: Final = b"x-penstock-"
_IN_MODEL: Final = frozenset({"complexity", "model", "role"})
"""What `model` of the body names, with the words of the Python client."""
_OTHER_WORDS: Final = {"collection": "rag", "retrieval": "rag", "timeout": "timeout-s"}
"""Words that are used for an option, whose name they do not resemble enough, or less than that of another one."""
_NUMBER: Final = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Python's `float` also reads the digits of other scripts, and a `_` between digits."""
OnDisconnect = Literal["cancel", "continue"]
GivenOptions = dict[str, Any]
"""The values of the headers that a request has, by the fields of RequestOptions."""


class RequestOptions(Struct, frozen=True, kw_only=True):
    """How the gateway treats a request; the body is for the model.

    The descriptions are those of the headers in the OpenAPI document.
    """

    rescue: Annotated[
        Annotated[str, Meta(pattern=STREAM_RESCUE_PATTERN)] | None,
        Meta(
            description="What a stream does when an attempt fails after text was sent: `error`, `hold`, `restart`, or "
            "`hold:1500`, which holds text for so many milliseconds. Default: that of the key, which is `error`.",
            examples=["hold", "hold:1500"],
        ),
    ] = None
    on_disconnect: Annotated[
        OnDisconnect | None,
        Meta(
            description="`continue`: the answer is made also after the client hangs up, to be read by its id. "
            "Default: `cancel`; `continue` for jobs and with an idempotency key."
        ),
    ] = None
    timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=LONGEST_WAIT_S)] | None,
        Meta(
            description="Seconds for the whole request, waiting included; in the lane `interactive` at most 3600. "
            "Default: those of the role."
        ),
    ] = None
    lane: Annotated[
        Lane, Meta(description="`batch`: the request may wait for hours, behind those of the other lane.")
    ] = "interactive"
    degrade: Annotated[bool, Meta(description="`false`: the request is never shortened.")] = True
    user: Annotated[str, Meta(description="Your end user, before `user` in the body.")] = ""
    rag: Annotated[
        str,
        Meta(
            description="Passages of a collection are put before the model: its name, or options as JSON. Before `rag` "
            "in the body.",
            examples=["handbook", '{"collection": "handbook", "top_k": 8}'],
        ),
    ] = ""
    conversation: Annotated[
        str,
        Meta(
            description="The conversation of `user` to which the request belongs: it is remembered, and what fits of "
            "the user's earlier conversations is recalled. Before `conversation` in the body."
        ),
    ] = ""

    def cancels_on_disconnect(self, *, can_be_read_later: bool) -> bool:
        """`can_be_read_later`: the request has an idempotency key, or is a job."""
        return self.on_disconnect == "cancel" or not (self.on_disconnect or can_be_read_later)


def read_options(headers: Iterable[Header]) -> GivenOptions:
    """Raises HttpError (400) for an unknown option or value: ignoring a misspelled one would be worse."""
    given: GivenOptions = {}
    for name, value in headers:
        if name.startswith(_PREFIX):
            option = name.removeprefix(_PREFIX).decode("latin-1")
            read = _OPTIONS.get(option)
            if read is None:
                raise _invalid(option, f"there is no header x-penstock-{option}: {_meant(option)}")
            given[option.replace("-", "_")] = read(option, value.decode(errors="replace").strip())
    return given


def _meant(option: str) -> str:
    """What to use in place of an unknown option."""
    if option in _IN_MODEL:
        return "name it in model, a field of the body"
    near = [_OTHER_WORDS[option]] if option in _OTHER_WORDS else get_close_matches(option, _OPTIONS, n=1)
    return f"did you mean x-penstock-{near[0]}?" if near else f"use one of {', '.join(_OPTIONS)}"


def options_of(given: GivenOptions, *, lane: Lane | None = None) -> RequestOptions:
    """`lane`: the only one of a job; None: the request chooses. Raises HttpError (400) for another one, and for a time
    limit beyond that of the lane.
    """
    if lane is not None and given.get("lane", lane) != lane:
        raise _invalid("lane", f"x-penstock-lane is {given['lane']!r}: a job is always in the {lane} lane")
    if lane is None and not given:
        return _NONE
    options = RequestOptions(**given) if lane is None else RequestOptions(**{**given, "lane": lane})
    longest_s = LONGEST_S[options.lane]
    if options.timeout_s is not None and options.timeout_s > longest_s:
        raise _invalid("timeout-s", f"x-penstock-timeout-s is at most {longest_s} in the {options.lane} lane")
    return options


def _choice(*choices: str) -> Callable[[str, str], str]:
    def read(option: str, text: str) -> str:
        if text not in choices:
            raise _invalid(option, f"x-penstock-{option} is {text!r}: use one of {', '.join(choices)}")
        return text

    return read


def _rescue(option: str, text: str) -> str:
    try:
        read_rescue(text)
    except ValueError as error:
        raise _invalid(option, f"x-penstock-{option}: {error}") from error
    return text


def _rag(option: str, text: str) -> str:
    try:
        rag_of_text(text)
    except ValueError as error:
        raise _invalid(option, f"x-penstock-{option}: {error}") from error
    return text


def _seconds(option: str, text: str) -> float:
    seconds = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < seconds < math.inf:
        raise _invalid(option, f"x-penstock-{option} is {text!r}: use a number of seconds greater than 0")
    return seconds


def _flag(option: str, text: str) -> bool:
    return _choice("true", "false")(option, text) == "true"


def _text(option: str, text: str) -> str:  # noqa: ARG001 - the signature of every reader
    return text


def _invalid(option: str, message: str) -> HttpError:
    return HttpError.of("invalid_request", message, param=f"x-penstock-{option}")


_OPTIONS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "rescue": _rescue,
    "on-disconnect": _choice(*get_args(OnDisconnect)),
    "timeout-s": _seconds,
    "lane": _choice(*LANES),
    "degrade": _flag,
    "user": _text,
    "rag": _rag,
    "conversation": _text,
}
_NONE: Final = RequestOptions()
