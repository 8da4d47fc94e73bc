"""The output of one attempt without what the policy redacts; the guard is asked only where something may be found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Raw, Struct

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


class _Text(Struct):
    """A part of the text of one channel, in pieces."""

    channel: Channel
    filter: ChannelFilter
    pieces: Sequence[Piece]
    ends: bool = False
    """The channel holds nothing back after it."""
    findings: dict[int, list[Finding]] = {}
    """Of suspicious pieces, by their index."""


class _Part(Struct):
    """Texts that are published together: those of a choice object, or a single one."""

    texts: list[_Text]
    choice: AnswerTexts | None = None


class Item(Struct):
    """What one delta adds to the answer."""

    parts: Sequence[_Part] = ()
    plain: str = ""
    """In place of parts, as most deltas are so: text of choice 0 that holds no finding."""
    suspicious: bool = False
    """The guard has to be asked before it may be shown."""


_NOTHING: Final = Item()


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
        self._content = self._filter(CONTENT)

    def take(self, delta: ChunkDelta) -> Item:
        """The pieces of text that are complete with the delta. Raises MalformedChunk."""
        return self._take_all(delta) if delta.choices else self._take_text(delta.text)

    def rest(self) -> Item:
        """What all channels hold back, after the last delta."""
        return _item([_Part([self._rest(channel)]) for channel in self._filters])

    async def check(self, items: Sequence[Item]) -> None:
        """Ask the guard about all suspicious pieces of these items. Raises Refused."""
        asked = [
            (text, index)
            for item in items
            if item.suspicious
            for part in item.parts
            for text in part.texts
            for index, piece in enumerate(text.pieces)
            if piece.suspicious
        ]
        found: dict[int, list[Finding]] = {}
        for finding in await self._find([checked_text(text.pieces[index]) for text, index in asked]):
            found.setdefault(finding.text, []).append(finding)
        for number, (text, index) in enumerate(asked):
            findings = found_in(text.pieces[index], found.get(number, ()), self._rules.request.policy)
            if findings:
                text.findings[index] = findings
                self._rules.checks.block(self._rules.request, "output", findings)
        for item in items:
            item.suspicious = False

    def shown(self, item: Item) -> list[ChunkDelta]:
        """What may be shown of an item that was checked; to be called once, in the order of the items."""
        deltas: list[ChunkDelta] = []
        if item.plain:
            if self._windows is not None:
                self._windows.add(CONTENT, item.plain)
            text = self._content.plain(item.plain)
            return [ChunkDelta(text)] if text else []
        for part in item.parts:
            texts = [self._shown(text) for text in part.texts]
            if part.choice is not None:
                choice = part.choice.filled(texts)
                if choice is not None:
                    deltas.append(ChunkDelta("", (choice,)))
            elif texts[0]:
                deltas.append(self._answer.alone(part.texts[0].channel, texts[0]))
        return deltas

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
        item = _item(
            [
                _Part([self._complete(channel, text)])
                for channel, text in zip(answer.channels, answer.texts, strict=True)
            ]
        )
        if item.suspicious:
            await self.check([item])
        texts = ["".join(map(self._shown, part.texts)) for part in item.parts]
        await self.end()
        return Raw(answer.filled(texts))

    def guarded(self) -> tuple[GuardedContent, ...]:
        """What was found in the output and allowed to pass, or replaced."""
        return tuple(
            GuardedContent(direction="output", name=name, action=action, count=number)
            for (name, action), number in self._passed.items()
        )

    def _take_text(self, text: str) -> Item:
        pieces = self._content.cut(text)
        if not pieces:
            return _NOTHING
        first = pieces[0]
        if len(pieces) == 1 and not first.suspicious and not first.continues:
            return Item(plain=first.text)
        return _item([_Part([_Text(CONTENT, self._content, pieces)])])

    def _take_all(self, delta: ChunkDelta) -> Item:
        parts: list[_Part] = []
        text_ends = False
        for raw in delta.choices:
            try:
                choice = self._answer.read(raw)
            except ValueError as error:
                raise MalformedChunk(f"a choice that cannot be read: {error}") from error
            ends = choice.ends and not self._finish_repeats
            text_ends = text_ends or (ends and choice.choice == CONTENT.choice)
            parts += self._parts_of(choice, ends=ends, with_text=bool(delta.text))
        if delta.text:
            parts.append(_Part([self._text(CONTENT, delta.text, ends=text_ends)]))
        return _item(parts)

    def _parts_of(self, choice: AnswerTexts, *, ends: bool, with_text: bool) -> list[_Part]:
        """The texts of a choice object. What its channels hold back is sent before its finish reason, that of its
        content behind the text that follows in the same delta.
        """
        texts = [self._text(*each, ends=ends) for each in zip(choice.channels, choice.texts, strict=True)]
        part = _Part(texts, choice)
        if not ends:
            return [part]
        others = (
            channel
            for channel in self._answer.of_choice(choice.choice)
            if channel in self._filters
            and channel not in choice.channels
            and not (with_text and channel is CONTENT)
        )
        return [*(_Part([self._rest(channel)]) for channel in others), part]

    def _text(self, channel: Channel, text: str, *, ends: bool) -> _Text:
        if channel.complete:
            return self._complete(channel, text)
        filter_ = self._filter(channel)
        pieces = filter_.cut(text)
        return _Text(channel, filter_, [*pieces, *filter_.rest()] if ends else pieces, ends)

    def _complete(self, channel: Channel, text: str) -> _Text:
        filter_ = self._new_filter(channel)
        return _Text(channel, filter_, [*filter_.cut(text), *filter_.rest()], ends=True)

    def _rest(self, channel: Channel) -> _Text:
        filter_ = self._filters[channel]
        return _Text(channel, filter_, filter_.rest(), ends=True)

    def _filter(self, channel: Channel) -> ChannelFilter:
        known = self._filters.get(channel)
        if known is None:
            known = self._filters[channel] = self._new_filter(channel)
        return known

    def _new_filter(self, channel: Channel) -> ChannelFilter:
        searched = bool(self._rules.searching)
        return ChannelFilter(self._rules.placeholders, searched=searched, json_text=channel.json_text)

    def _shown(self, text: _Text) -> str:
        shown = []
        for index, piece in enumerate(text.pieces):
            findings = text.findings.get(index, ())
            if findings and not text.filter.swallows(piece):
                self._count(findings)
            clean = text.filter.without_findings(piece, findings)
            if self._windows is not None:
                self._windows.add(text.channel, clean)
            shown.append(text.filter.restored(clean))
        if text.ends:
            shown.append(text.filter.restored_rest())
        return "".join(shown)

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


def _item(parts: list[_Part]) -> Item:
    suspicious = any(piece.suspicious for part in parts for text in part.texts for piece in text.pieces)
    return Item(parts, suspicious=suspicious)
