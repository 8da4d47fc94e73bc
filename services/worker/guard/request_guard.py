"""The guard of one request: its input is checked once, and no output passes before that allows it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

from msgspec import Raw
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import PLACED_DETECTORS, DetectorName
from penstock.contract.reply import GuardedContent
from penstock.contract.work import ChatWork
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import GUARD_ACCOUNT, EffectivePolicy
from services.worker.guard.check_parts import merged
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused
from services.worker.guard.guarded_sink import GuardedSink, Published
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.placeholders import JsonPosition, Placeholders
from services.worker.guard.request_texts import rewritten, texts_of
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.wire_errors import MalformedReply

__all__ = ["RequestGuard", "RequestGuards"]

_log: Final = rate_limited_logger(__name__)
"""The detectors whose findings have a place in the text."""


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
        if work.account == GUARD_ACCOUNT:
            return None
        policy = self._policy_of(work.account)
        if not (policy.detectors("input") or policy.detectors("output")):
            return None
        request = CheckedRequest(work.id, work.account, work.user, policy, traceparent)
        return RequestGuard(request, self._checks, self._config.moderation_window_characters)


class RequestGuard:
    """What the guard says of one request, over all of its attempts."""

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
        self._decided = asyncio.Event()
        """The input may be answered, or the request is refused."""
        self._refused: Refused | None = None
        self._timer: asyncio.Timeout | None = None
        """Ends the attempt that runs."""
        self._placeholders = Placeholders()
        self._redactions: dict[int, list[Finding]] = {}
        """What is replaced in the input, by the index of the text."""
        self._passed: Counter[tuple[str, Literal["flag", "redact"]]] = Counter()
        if not self._others:
            self._decided.set()

    @property
    def refused(self) -> Refused | None:
        """Why the request ends."""
        return self._refused

    @property
    def is_open(self) -> bool:
        """Whether the input allows output."""
        return self._decided.is_set() and self._refused is None

    @property
    def checks_first(self) -> bool:
        """Whether the input must be checked before a provider is chosen."""
        return bool(self._redacting) or (self._policy.mode == "before" and bool(self._others))

    async def check_first(self, body: Raw) -> None:
        """Check what must be known before anything leaves. Raises Refused."""
        texts = _texts(body)
        if self._redacting:
            self._note_redactions(texts, await self._check(texts, self._redacting))
        if self._policy.mode == "before":
            if self._others:
                await self._check(self._without_values(texts), self._others)
            self._decided.set()

    def redacted(self, body: Raw) -> Raw:
        """The body with placeholders in place of the values that `check_first` found.

        It is made anew each time: a body that is stored apart is in memory during attempts only.
        """
        if not self._redactions:
            return body
        return Raw(rewritten(body, [each.text for each in self._without_values(_texts(body))]))

    def begin(self, body: Raw) -> None:
        """Start the check beside the first attempt. Raises Refused for a body without readable texts."""
        if self._task is None and not self._decided.is_set():
            self._task = asyncio.create_task(self._check_beside(_texts(body)))
            self._task.add_done_callback(self._decide)

    async def allowed(self) -> None:
        """Wait until the input may be answered. Raises Refused."""
        await self._decided.wait()
        if self._refused is not None:
            raise self._refused

    def refuse(self, refused: Refused) -> None:
        """End the request, and the attempt that runs at once."""
        if self._refused is not None:
            return
        self._refused = refused
        self._decided.set()
        if self._timer is not None:
            self._timer.reschedule(loop_now_s())

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancels what runs inside once the request is refused. Raises Refused."""
        if self._refused is not None:
            raise self._refused
        try:
            async with asyncio.timeout(None) as self._timer:
                yield
        except TimeoutError:
            if self._refused is None:
                raise
            raise self._refused from None
        finally:
            self._timer = None

    def sink(self, published: Published, keep_bytes: int, *, finish_repeats: bool = False) -> GuardedSink:
        """Where one attempt sends its output; `keep_bytes`: how much of it is kept, `finish_repeats`: its finish reason
        may be in any chunk.
        """
        rules = self._output_rules()
        filter_ = None if rules.empty else OutputFilter(rules, finish_repeats=finish_repeats)
        return GuardedSink(self, published, filter_, self._checks.metrics, keep_bytes)

    async def answer(self, response: Raw) -> tuple[Raw, tuple[GuardedContent, ...]]:
        """The answer of a call that did not stream, once it may be shown, as it may be shown; and what was found in it.

        Raises Refused and ProviderFailure.
        """
        await self.allowed()
        rules = self._output_rules()
        if rules.empty:
            return response, ()
        filter_ = OutputFilter(rules)
        try:
            shown = await filter_.whole(response)
            await self.allowed()
        except MalformedReply as error:
            raise ProviderFailure("malformed", str(error)) from error
        finally:
            filter_.drop()
        return shown, filter_.guarded()

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found in the input, and passed or was replaced."""
        return tuple(
            GuardedContent(direction="input", name=name, action=action, count=count)
            for (name, action), count in self._passed.items()
        )

    def _output_rules(self) -> OutputRules:
        detectors = self._policy.detectors("output")
        return OutputRules(
            self._request,
            self._checks,
            self._placeholders,
            searching=tuple(each for each in detectors if each in PLACED_DETECTORS),
            moderating=tuple(each for each in detectors if each not in PLACED_DETECTORS),
            window_characters=self._window_characters,
            refuse=self.refuse,
        )

    async def close(self) -> None:
        """The request has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _decide(self, checked: asyncio.Task[None]) -> None:
        if checked.cancelled():
            return
        error = checked.exception()
        if error is None:
            self._decided.set()
        else:
            self.refuse(error if isinstance(error, Refused) else _failed_check(error))

    def _note_redactions(self, texts: Sequence[CheckedText], findings: Sequence[Finding]) -> None:
        redactions = merged(each for each in findings if each.action == "redact")
        if not redactions:
            return
        self._placeholders = Placeholders(each.text for each in texts)
        for each in redactions:
            self._redactions.setdefault(each.text, []).append(each)
        self._checks.metrics.redactions.labels("input").inc(len(redactions))

    def _without_values(self, texts: Sequence[CheckedText]) -> list[CheckedText]:
        """The texts with placeholders; the same values get the same ones each time."""
        changed = list(texts)
        for index, findings in self._redactions.items():
            checked = changed[index]
            position = JsonPosition() if _may_be_json(checked) else None
            text = self._placeholders.replace(
                checked.text, findings, of_request=self._policy.restore, position=position
            )
            changed[index] = replace(checked, text=text)
        return changed

    async def _check_beside(self, texts: Sequence[CheckedText]) -> None:
        await self._check(texts, self._others)

    async def _check(
        self, texts: Sequence[CheckedText], detectors: tuple[DetectorName, ...]
    ) -> list[Finding]:
        if not texts:
            return []
        findings = await self._checks.findings(self._request, "input", texts, detectors)
        for each in findings:
            if each.action in {"flag", "redact"}:
                self._passed[each.name, each.action] += 1
        return findings


def _may_be_json(checked: CheckedText) -> bool:
    """Whether the text may be the arguments of a tool call."""
    return checked.origin == "assistant" and checked.text.lstrip()[:1] in ("{", "[")


def _failed_check(error: BaseException) -> Refused:
    _log.error("a check of the guard failed: %s", type(error).__name__, exc_info=error)
    return Refused("internal", "the safety check failed; the log line with this error has the details")


def _texts(body: Raw) -> tuple[CheckedText, ...]:
    try:
        return texts_of(body)
    except (ValueError, RecursionError) as error:
        raise Refused("invalid_request", f"the body cannot be read: {error}") from error
