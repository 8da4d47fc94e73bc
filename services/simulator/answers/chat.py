"""Chat answers, a pure function of the base model name and the request."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

from msgspec import Struct

from services.simulator.answers import tokens
from services.simulator.answers.language import Language, detect
from services.simulator.answers.logprobs import logprobs_of
from services.simulator.answers.passages import Citation, best_citation
from services.simulator.answers.requests import CompletionRequest, Prompt
from services.simulator.answers.safety import safety_format, safety_verdict
from services.simulator.answers.structured import json_answer
from services.simulator.answers.tools import ToolCall, call_functions, functions_to_call

__all__ = ["DEFAULT_TOKENS", "Answer", "compose"]

DEFAULT_TOKENS: Final = 40
"""Length of an answer when neither the prompt nor a limit sets one."""

_REQUESTED_LENGTH: Final = re.compile(r"\[\[tokens=(\d{1,6})\]\]")
_TOPIC_WORDS: Final = 8

FinishReason = Literal["stop", "length", "tool_calls"]


class Answer(Struct, frozen=True):
    """One choice. Every piece is a token, and a stream sends one piece per chunk."""

    content: tuple[str, ...]
    finish_reason: FinishReason
    reasoning: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    top_logprobs: int | None = None
    """The number of alternatives to each token that are reported; None: no log probabilities."""

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.content) + sum(len(call.arguments) for call in self.calls)

    def logprobs(self, pieces: tuple[str, ...]) -> dict[str, Any] | None:
        """Those of pieces of the content."""
        return None if self.top_logprobs is None else logprobs_of(pieces, self.top_logprobs)


def compose(base: str, request: CompletionRequest, prompt: Prompt, seed: int) -> Answer:
    """The answer of model `base`; `seed` is derived from the messages, the choice and the request's seed."""
    question = _REQUESTED_LENGTH.sub("", prompt.question)
    language = detect(prompt.question)
    topic = _beginning(question)
    limit = request.token_limit
    safety = safety_format(base)
    functions = [] if safety else functions_to_call(request, question)
    if functions:
        calls, complete = call_functions(functions, topic, question, seed, limit)
        return Answer((), "tool_calls" if complete else "length", calls=calls)
    reasoning = (
        tokens.split(language.thought.format(topic=topic))
        if "reasoning" in base or safety == "gpt_oss_safeguard"
        else []
    )
    if safety is not None:
        content = tokens.split(safety_verdict(safety, request.messages))
    elif request.response_format is not None and request.response_format.get("type") != "text":
        content = tokens.split(json_answer(request.response_format, request.texts(), topic, base))
    else:
        citation = best_citation(request.system_texts(), question)
        opening = _opening(base, language, prompt, topic, citation)
        content = _text(opening, language, prompt, seed, whole=bool(prompt.tool_result or citation))
    content = _stopped(content, request.stops)
    top = (request.top_logprobs or 0) if request.logprobs else None
    whole = len(reasoning) + len(content)
    if limit is None or whole <= limit:
        return Answer(tuple(content), "stop", tuple(reasoning), top_logprobs=top)
    kept = tuple(content[: max(0, limit - len(reasoning))])
    return Answer(kept, "length", tuple(reasoning[:limit]), top_logprobs=top)


def _beginning(text: str) -> str:
    return " ".join(text.split()[:_TOPIC_WORDS])


def _stopped(pieces: list[str], stops: list[str]) -> list[str]:
    """The pieces before the first stop sequence; the last of them may be a part of a token."""
    if not stops:
        return pieces
    text = "".join(pieces)
    end = min((at for at in map(text.find, stops) if at >= 0), default=None)
    return pieces if end is None else tokens.split(text[:end])


def _opening(base: str, language: Language, prompt: Prompt, topic: str, citation: Citation | None) -> str:
    opening = language.opening.format(model=base, topic=topic)
    if prompt.images:
        opening += language.images.format(count=prompt.images, plural="" if prompt.images == 1 else "s")
    if prompt.tool_result:
        opening += language.result.format(result=_beginning(prompt.tool_result))
    if citation is not None:
        opening += language.citation.format(sentence=citation.sentence, number=citation.number)
    return opening


def _text(opening: str, language: Language, prompt: Prompt, seed: int, *, whole: bool) -> list[str]:
    """As many tokens as the prompt asks for, else the usual number. `whole`: more if the opening needs them."""
    requested = _REQUESTED_LENGTH.search(prompt.question)
    length = int(requested.group(1)) if requested else DEFAULT_TOKENS
    if whole and not requested:
        length = max(length, tokens.count(opening))
    pieces = tokens.split(opening)[:length]
    _fill(pieces, language, length - len(pieces), seed)
    return pieces


def _fill(pieces: list[str], language: Language, missing: int, seed: int) -> None:
    """Append exactly `missing` tokens of whole sentences; `seed` selects the first one."""
    sentences = language.sentences
    start = seed % len(sentences)
    while missing >= 2:
        order = (*range(start, len(sentences)), *range(start))
        index = next((index for index in order if len(sentences[index]) <= missing), None)
        chosen = language.closings[missing] if index is None else sentences[index]
        pieces += chosen
        missing -= len(chosen)
        start = 0 if index is None else index + 1
    if missing:
        pieces.insert(-1, language.more)
