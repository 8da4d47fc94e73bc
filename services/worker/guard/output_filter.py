"""The output of one attempt without what the policy redacts; the guard is asked only where something may be found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from penstock.contract.reply import GuardedContent
from services.worker.guard.answer_channels import CONTENT, AnswerChannels, AnswerTexts, Channel, WholeAnswer
from services.worker.guard.candidates import Piece
from services.worker.guard.channel_filter import ChannelFilter, checked_text, found_in
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused, failed_check
from services.worker.guard.moderation_windows import ModerationWindows
from services.worker.guard.placeholders import Placeholders
from services.worker.providers.errors.wire_errors import MalformedChunk, MalformedReply
from services.worker.providers.streams.chunks import ChunkDelta

__all__ = ["Item", "OutputFilter", "OutputRules"]

Passed = Counter[tuple[str, Literal["flag", "redact"]]]
"""Findings that pass or are replaced, by name and action."""


class OutputRules(Struct, frozen=True):
    """What is done to every answer to one request."""

    request: CheckedRequest
    checks: GuardChecks
    placeholders: Placeholders
    searching: tuple[DetectorName, ...]
    """The detectors of findings with a place in the text."""
    moderating: tuple[DetectorName, ...]
    """All others."""
    window_characters: int
    refuse: Callable[[Refused], None]
    """Ends the request."""

    @property
    def empty(self) -> bool:
        """Whether answers pass as they are."""
        return not (self.searching or self.moderating or self.placeholders.restorable)


class _Text(Struct, frozen=True, gc=False):
    """A part of the text of one channel, in pieces."""

    channel: Channel
    filter: ChannelFilter
    pieces: Sequence[Piece]
    ends: bool = False
    """The channel holds nothing back after it."""
    findings: Sequence[Sequence[Finding]] = ()
    """Of each piece, once the guard has been asked; empty: there are none."""


class Item(Struct, frozen=True, gc=False):
    """Texts that are published together: those of a choice object, or a single one."""

    texts: Sequence[_Text]
    choice: AnswerTexts | None = None
    suspicious: bool = False
    """The guard has to be asked before it may be shown."""

    @property
    def checked_characters(self) -> int:
        """Characters that the guard reads to check it."""
        if not self.suspicious:
            return 0
        pieces = chain.from_iterable(text.pieces for text in self.texts)
        return sum(len(piece.context) + len(piece.text) for piece in pieces if piece.suspicious)


class OutputFilter:
    """Takes deltas as they come, and gives what may be shown of each, in the same order."""

    def __init__(self, rules: OutputRules, *, finish_repeats: bool = False) -> None:
        """`finish_repeats`: the finish reason may be in any chunk, so that it ends nothing."""
        self._rules = rules
        self._finish_repeats = finish_repeats
        self._answer = AnswerChannels()
        self._filters: dict[Channel, ChannelFilter] = {}
        self._windows = (
            ModerationWindows(self._moderate, rules.window_characters) if rules.moderating else None
        )
        self._passed: Passed = Counter()

    def take(self, delta: ChunkDelta) -> Sequence[Item]:
        """The pieces of text that are complete with the delta. Raises MalformedChunk."""
        return self._take_choices(delta) if delta.choices else self._take_content(delta.text)

    def rest(self) -> list[Item]:
        """What all channels hold back, after the last delta."""
        return list(map(self._rest, self._filters))

    async def check(self, items: Sequence[Item]) -> list[Item]:
        """The same items with what the guard finds in their suspicious pieces. Raises Refused."""
        asked = [
            piece
            for item in items
            if item.suspicious
            for text in item.texts
            for piece in text.pieces
            if piece.suspicious
        ]
        found: dict[int, list[Finding]] = {}
        for finding in await self._find([checked_text(piece) for piece in asked]):
            found.setdefault(finding.text, []).append(finding)
        policy = self._rules.request.policy
        placed = [found_in(piece, found.get(number, ()), policy) for number, piece in enumerate(asked)]
        self._rules.checks.block(self._rules.request, "output", list(chain.from_iterable(placed)))
        following = iter(placed)
        return [_with_findings(item, following) if item.suspicious else item for item in items]

    def shown(self, item: Item) -> ChunkDelta | None:
        """What may be shown of an item that was checked; to be called once, in the order of the items."""
        texts = [self._shown(text) for text in item.texts]
        if item.choice is not None:
            choice = item.choice.filled(texts)
            return None if choice is None else ChunkDelta("", (choice,))
        return self._answer.alone(item.texts[0].channel, texts[0]) if texts[0] else None

    async def end(self) -> None:
        """Wait until all that was shown is moderated; a block has ended the request then."""
        if self._windows is not None:
            await self._windows.end()

    def drop(self) -> None:
        """The attempt is over."""
        if self._windows is not None:
            self._windows.drop()

    async def whole(self, response: Raw) -> Raw:
        """A completion that is not streamed, as it may be shown. Raises Refused and MalformedReply."""
        try:
            answer = WholeAnswer(response)
        except ValueError as error:
            raise MalformedReply(f"not a chat completion: {error}") from error
        item = _item([self._complete(*each) for each in zip(answer.channels, answer.texts, strict=True)])
        if item.suspicious:
            (item,) = await self.check([item])
        texts = list(map(self._shown, item.texts))
        await self.end()
        return Raw(answer.filled(texts))

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found in the output and allowed to pass, or replaced."""
        return tuple(
            GuardedContent(direction="output", name=name, action=action, count=number)
            for (name, action), number in self._passed.items()
        )

    def _take_content(self, text: str) -> Sequence[Item]:
        filter_ = self._filters.get(CONTENT)
        if filter_ is None:
            return [*self._begin(CONTENT), *self._take_content(text)]
        pieces = filter_.cut(text)
        if not pieces:
            return ()
        texts = (_Text(CONTENT, filter_, pieces),)
        return (Item(texts) if len(pieces) == 1 and not pieces[0].suspicious else _item(texts),)

    def _take_choices(self, delta: ChunkDelta) -> list[Item]:
        items: list[Item] = []
        text_ends = False
        for raw in delta.choices:
            try:
                choice = self._answer.read(raw)
            except ValueError as error:
                raise MalformedChunk(f"a choice that cannot be read: {error}") from error
            ends = choice.ends and not self._finish_repeats
            text_ends = text_ends or (ends and choice.choice == CONTENT.choice)
            self._add_choice(items, choice, ends=ends, with_text=bool(delta.text))
        if delta.text:
            items += self._begin(CONTENT)
            items.append(_item((self._text(CONTENT, delta.text, ends=text_ends),)))
        return items

    def _add_choice(self, items: list[Item], choice: AnswerTexts, *, ends: bool, with_text: bool) -> None:
        """The texts of a choice object. What its channels hold back is sent before its finish reason, that of its
        content behind the text that follows in the same delta.
        """
        for channel in choice.channels:
            if channel not in self._filters and not channel.complete:
                items += self._begin(channel, choice.channels)
        if ends:
            items += (
                self._rest(channel)
                for channel in self._filters
                if channel.choice == choice.choice
                and channel not in choice.channels
                and not (with_text and channel is CONTENT)
            )
        texts = [self._text(*each, ends=ends) for each in zip(choice.channels, choice.texts, strict=True)]
        items.append(_item(texts, choice))

    def _begin(self, channel: Channel, together: Sequence[Channel] = ()) -> list[Item]:
        """Begin a channel unless it has begun. What the others of its choice hold back is sent before: an answer goes
        from one to the next, and a value ends there. `together`: those that go on in the same delta.
        """
        if channel in self._filters:
            return []
        tails = [
            self._rest(other)
            for other, filter_ in self._filters.items()
            if other.choice == channel.choice and other not in together and filter_.may_end
        ]
        self._filters[channel] = self._new_filter(channel)
        return tails

    def _text(self, channel: Channel, text: str, *, ends: bool) -> _Text:
        if channel.complete:
            return self._complete(channel, text)
        filter_ = self._filters[channel]
        pieces = filter_.cut(text)
        return _Text(channel, filter_, [*pieces, *filter_.rest()] if ends else pieces, ends)

    def _complete(self, channel: Channel, text: str) -> _Text:
        filter_ = self._new_filter(channel)
        return _Text(channel, filter_, [*filter_.cut(text), *filter_.rest()], ends=True)

    def _rest(self, channel: Channel) -> Item:
        filter_ = self._filters[channel]
        return _item((_Text(channel, filter_, filter_.rest(), ends=True),))

    def _new_filter(self, channel: Channel) -> ChannelFilter:
        searched = bool(self._rules.searching)
        return ChannelFilter(self._rules.placeholders, searched=searched, json_text=channel.json_text)

    def _shown(self, text: _Text) -> str:
        filter_, shown = text.filter, ""
        for index, piece in enumerate(text.pieces):
            findings = text.findings[index] if text.findings else ()
            if findings and not filter_.swallows(piece):
                self._count(findings)
            clean = filter_.without_findings(piece, findings)
            if self._windows is not None:
                self._windows.add(text.channel, clean)
            shown += filter_.restored(clean)
        return shown + filter_.restored_rest() if text.ends else shown

    def _count(self, findings: Sequence[Finding]) -> None:
        for each in findings:
            if each.action in {"flag", "redact"}:
                self._passed[each.name, each.action] += 1
            if each.action == "redact":
                self._rules.checks.metrics.redactions.labels("output").inc()

    async def _find(self, texts: Sequence[CheckedText]) -> list[Finding]:
        rules = self._rules
        return await rules.checks.findings(rules.request, "output", texts, rules.searching)

    async def _moderate(self, texts: Sequence[CheckedText]) -> None:
        rules = self._rules
        try:
            found = await rules.checks.findings(rules.request, "output", texts, rules.moderating)
        except Refused as refused:
            rules.refuse(refused)
        except Exception as error:  # noqa: BLE001 - in a task of its own: the answer would go on unmoderated
            rules.refuse(failed_check(error))
        else:
            self._count(found)


def _item(texts: Sequence[_Text], choice: AnswerTexts | None = None) -> Item:
    suspicious = False
    for text in texts:
        for piece in text.pieces:
            suspicious = suspicious or piece.suspicious
    return Item(texts, choice, suspicious)


def _with_findings(item: Item, following: Iterator[Sequence[Finding]]) -> Item:
    """The item with the next findings in the place of its suspicious pieces."""
    texts = [
        replace(text, findings=[next(following) if piece.suspicious else () for piece in text.pieces])
        for text in item.texts
    ]
    return replace(item, texts=texts, suspicious=False)
