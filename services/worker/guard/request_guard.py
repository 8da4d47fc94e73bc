"""The guard of one request: its input is checked once, and no output passes before that allows it."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Literal

from msgspec import Raw, structs

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.guard.policies import PLACED_DETECTORS, DetectorName, Direction
from penstock.contract.reply import GuardedContent
from penstock.contract.work import ChatWork
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import EffectivePolicy
from penstock.runtime.guard.joined_findings import joined
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused, failed_check
from services.worker.guard.guarded_sink import GuardedSink, Published
from services.worker.guard.input_redaction import InputRedaction
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.output_permission import OutputPermission
from services.worker.guard.placeholders import Placeholders
from services.worker.guard.request_places import NO_DOCUMENTS, DocumentPlaces
from services.worker.guard.request_texts import RequestTexts, texts_of
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.wire_errors import MalformedReply
from services.worker.providers.raw_json import decode_any, encoded

__all__ = ["RequestGuard", "RequestGuards"]

_TEXTS: Final = "texts"
_MOST_PLACES: Final = 10
"""Of findings with one name and action, that are reported."""
_LEFT_OUT: Final = "left out by the safety guard"


class RequestGuards:
    """Makes the guard of each request."""

    def __init__(
        self, config: Guard, policy_of: Callable[[str], EffectivePolicy], checks: GuardChecks
    ) -> None:
        """`policy_of`: the policy in force for an account."""
        self._config = config
        self._policy_of = policy_of
        self._checks = checks

    def of(self, work: ChatWork, traceparent: str | None) -> RequestGuard | None:
        """None for a request whose texts are not checked. `traceparent`: of the span of the request."""
        policy = self._policy_of(work.account)
        if not (policy.detectors("input") or policy.detectors("output")):
            return None
        request = CheckedRequest(work.id, work.account, work.user, policy, traceparent)
        return RequestGuard(request, self._checks, self._config.moderation_window_characters)


class RequestGuard:
    """The checks of one request, over all of its attempts."""

    def __init__(self, request: CheckedRequest, checks: GuardChecks, window_characters: int) -> None:
        self._request = request
        self._checks = checks
        self._window_characters = window_characters
        self._policy = request.policy
        needed = self._policy.detectors("input")
        redacting = self._policy.redacts("input")
        self._redacting = tuple(each for each in needed if redacting and each in PLACED_DETECTORS)
        self._others = tuple(each for each in needed if each not in self._redacting)
        self._task: asyncio.Task[None] | None = None
        """The check beside the provider call."""
        self._redaction = InputRedaction(restore=self._policy.restore)
        self._judged: tuple[DetectorName, ...] = ()
        """Those that have checked the passages before they were put in the request."""
        self._places: Sequence[ContentPlace] = ()
        """Of the texts of the request."""
        self._passed: Counter[tuple[str, Literal["flag", "redact"]]] = Counter()
        self._passed_in: defaultdict[tuple[str, str], dict[ContentPlace, None]] = defaultdict(dict)
        """Where that was, by name and action."""
        self.permission = OutputPermission()
        if not self._others:
            self.permission.grant()

    @property
    def checks_first(self) -> bool:
        """Whether the input must be checked before a provider is chosen."""
        return bool(self._redacting) or (self._policy.mode == "before" and bool(self._others))

    async def judge_passages(self, passages: Sequence[Sequence[str]]) -> list[list[Finding]]:
        """What the policy flags or blocks in each passage, before they are put in the request; a passage may have
        several texts. Only detectors are asked of which the policy blocks something, and not again with the request.

        Raises Refused where there is no verdict and the policy requires one.
        """
        judged: list[list[Finding]] = [[] for _ in passages]
        blocking = self._policy.blocking("input")
        if not (blocking and passages):
            return judged
        owners = [number for number, texts in enumerate(passages) for _ in texts]
        read = RequestTexts(
            tuple(CheckedText(text=text, origin="tool") for texts in passages for text in texts)
        )
        texts, found = read.texts, list[Finding]()
        if self._redacting:
            found = await self._checks.findings(self._request, "input", texts, self._redacting, blocks=False)
            texts = await in_thread_if_large(
                lambda _: self._without_values(read, found), b"".join(each.text.encode() for each in texts)
            )
            found = [each for each in found if each.action == "block"]
        self._judged = tuple(each for each in blocking if each in self._others)
        if self._judged:
            found += await self._checks.findings(self._request, "input", texts, self._judged, blocks=False)
        for each in found:
            judged[owners[each.text]].append(each)
        return judged

    def note_passages(
        self, judged: Iterable[tuple[ContentPlace, Sequence[Finding]]], left_out: Sequence[LeftOut]
    ) -> None:
        """Report what `judge_passages` found in the passages that the model is given, and count the others."""
        for place, findings in judged:
            for each in findings:
                self._note(each.name, "flag", place)
        for out in left_out:
            self._checks.metrics.left_out.labels(out.kind).inc()

    async def check_first(self, body: Raw, documents: DocumentPlaces = NO_DOCUMENTS) -> None:
        """Check what must be known before anything leaves. `documents`: as of `texts_of`. Raises Refused."""
        read = await in_thread_if_large(partial(_read, documents=documents), body)
        self._places = read.places
        if self._redacting:
            findings = await self._check(read.texts, read.places, self._redacting)
            redacted = [each for each in findings if each.action == "redact"]
            await in_thread_if_large(lambda _: self._redaction.note(read, redacted), body)
            self._checks.metrics.redactions.labels("input").inc(len(redacted))
        if self._policy.mode == "before":
            if self._others:
                texts = await in_thread_if_large(lambda _: self._redaction.replaced(read), body)
                await self._check_others(texts)
            self.permission.grant()

    async def begin_attempt(self, body: Raw, documents: DocumentPlaces = NO_DOCUMENTS) -> Raw:
        """The body with placeholders in place of the values that `check_first` found; what is left to check of it is
        checked beside the first attempt. `documents`: as of `texts_of`.

        It is made anew each time: a body that is stored apart is in memory during attempts only. Raises Refused for a
        body without readable texts.
        """
        beside = self._task is None and not self.permission.known
        if not self._redaction.empty:
            body, texts = await in_thread_if_large(
                partial(self._redaction.applied, documents=documents), body
            )
        elif beside:
            read = await in_thread_if_large(partial(_read, documents=documents), body)
            texts, self._places = read.texts, read.places
        if beside:
            self._task = asyncio.create_task(self._check_others(texts))
            self._task.add_done_callback(self._decide)
        return body

    def sink(self, published: Published, keep_bytes: int, *, finish_repeats: bool = False) -> GuardedSink:
        """Where one attempt sends its output; `keep_bytes`: how much of it is kept, `finish_repeats`: its finish reason
        may be in any chunk.
        """
        rules = self._output_rules()
        filter_ = None if rules.empty else OutputFilter(rules, finish_repeats=finish_repeats)
        return GuardedSink(self.permission, published, filter_, self._checks.metrics, keep_bytes)

    async def answer(self, response: Raw) -> tuple[Raw, tuple[GuardedContent, ...]]:
        """The answer of a call that did not stream, once it may be shown, as it may be shown; and what was found in it.

        Raises Refused and ProviderFailure.
        """
        await self.permission.wait()
        rules = self._output_rules()
        if rules.empty:
            return response, ()
        filter_ = OutputFilter(rules)
        try:
            shown = await filter_.whole(response)
            await self.permission.wait()
        except MalformedReply as error:
            raise ProviderFailure("malformed", str(error)) from error
        finally:
            filter_.drop()
        return shown, filter_.guarded()

    async def failure_texts(self, texts: Sequence[str]) -> Sequence[str]:
        """What a provider said of a failure without what the policy redacts from answers: it may repeat a request or an
        answer. Values of the request stay placeholders, as operators see these texts too. A text is left out that the
        policy blocks, or that needs a check and gets none.
        """
        rules = self._output_rules()
        if not rules.searching:
            return texts
        filter_ = OutputFilter(structs.replace(rules, placeholders=Placeholders(texts), moderating=()))
        try:
            shown = await filter_.whole(encoded({_TEXTS: texts}))
        except Refused:
            return [_LEFT_OUT if text else "" for text in texts]
        return list(decode_any(shown)[_TEXTS])

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found in the input, and passed or was replaced."""
        return tuple(
            GuardedContent(
                direction="input",
                name=name,
                action=action,
                count=count,
                places=tuple(self._passed_in[name, action]),
            )
            for (name, action), count in self._passed.items()
        )

    def hidden(self, text: str) -> str:
        """The text without the values of the request and its answer that the policy redacts."""
        return self._redaction.placeholders.hide(text)

    def unchecked(self) -> tuple[Direction, ...]:
        """Where a check was not made, and the content passed."""
        return tuple(sorted(self._request.unchecked))

    async def close(self) -> None:
        """The request has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _output_rules(self) -> OutputRules:
        detectors = self._policy.detectors("output")
        return OutputRules(
            self._request,
            self._checks,
            self._redaction.placeholders,
            searching=tuple(each for each in detectors if each in PLACED_DETECTORS),
            moderating=tuple(each for each in detectors if each not in PLACED_DETECTORS),
            window_characters=self._window_characters,
            refuse=self.permission.refuse,
        )

    def _decide(self, checked: asyncio.Task[None]) -> None:
        if checked.cancelled():
            return
        error = checked.exception()
        if error is None:
            self.permission.grant()
        else:
            self.permission.refuse(error if isinstance(error, Refused) else failed_check(error))

    async def _check_others(self, texts: Sequence[CheckedText]) -> None:
        """The check without redaction; passages have been checked already by some of its detectors."""
        places = self._places
        rest = tuple(each for each in self._others if each not in self._judged)
        if rest:
            await self._check(texts, places, rest)
        if self._judged:
            own = [at for at, place in enumerate(places) if place.kind not in ("passage", "turn")]
            await self._check([texts[at] for at in own], [places[at] for at in own], self._judged)

    def _without_values(self, read: RequestTexts, found: Sequence[Finding]) -> tuple[CheckedText, ...]:
        """The texts with placeholders, which are for this check only."""
        redaction = InputRedaction(restore=False)
        redaction.note(read, joined(each for each in found if each.action == "redact"))
        return redaction.replaced(read)

    def _note(self, name: str, action: Literal["flag", "redact"], place: ContentPlace) -> None:
        self._passed[name, action] += 1
        places = self._passed_in[name, action]
        if len(places) < _MOST_PLACES:
            places[place] = None

    async def _check(
        self,
        texts: Sequence[CheckedText],
        places: Sequence[ContentPlace],
        detectors: tuple[DetectorName, ...],
    ) -> list[Finding]:
        """What passes or is to be replaced; findings that are to be replaced do not overlap. `places`: of the texts."""
        if not texts:
            return []
        self._request.places = places
        found = await self._checks.findings(self._request, "input", texts, detectors)
        redacted = joined(each for each in found if each.action == "redact")
        flagged = [each for each in found if each.action == "flag"]
        for each in redacted:
            self._note(each.name, "redact", places[each.text])
        for each in flagged:
            self._note(each.name, "flag", places[each.text])
        return [*redacted, *flagged]


def _read(body: Raw, *, documents: DocumentPlaces) -> RequestTexts:
    try:
        return texts_of(body, documents)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_request", f"the body cannot be read: {error}") from error
