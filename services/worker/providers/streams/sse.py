"""Server-sent events, read incrementally and strictly.

Format: WHATWG HTML, "Server-sent events", section 9.2.6 (fields, line ends, byte order mark). `[DONE]` is OpenAI's
marker for the end of a stream. Some providers answer a streamed request with one JSON body, or send errors outside of
an event's data: `{"error": ...}` on a line of its own, `error: {...}` (llama.cpp), `event: error`.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.wire_errors import SINGLE_NEWLINE_HINT, SseTooLarge, SseTruncated
from services.worker.providers.json_repair import repair_json
from services.worker.providers.size_limits import EVENT_BYTES, WHOLE_BYTES

__all__ = ["SseReader"]

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
_BLANKS: Final = b" \t\r\n"
_KEEPALIVE: Final = frozenset((b"ping", b"keepalive", b"keep-alive", b"heartbeat"))
"""Names of keep-alive events, whose data is ignored."""
_FIELDS: Final = frozenset((b"", b"data", b"event", b"id", b"retry", b"error"))
_CHOICES: Final = b'"choices"'
_EMPTY: Final = frozenset((b"", b"null", b'""', b"{}", b"[]"))
_DEFAULT: Final = StreamFormat()

_decode: Final = msgspec.json.Decoder().decode


class SseReader:
    """Turns the bytes of one response into the payloads of its events.

    Payloads, `done` and errors do not depend on how the bytes are split into pieces. Each line end (CR, LF or CRLF)
    counts as one byte of its event.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_by_line",
        "_end",
        "_limit_bytes",
        "_max_event_bytes",
        "_may_have_bom",
        "_name",
        "_rest",
        "_too_large",
        "done",
        "is_body",
    )

    def __init__(self, max_event_bytes: int = EVENT_BYTES, stream_format: StreamFormat = _DEFAULT) -> None:
        self.done = False
        """`[DONE]` was received, or the response is one complete JSON body. Later bytes are ignored."""
        self._max_event_bytes = max_event_bytes
        self._limit_bytes = max_event_bytes
        """Limit of the unread bytes: of one event, or of the whole JSON body."""
        self._by_line = stream_format.event_end == "newline"
        self._end = b"\n" if self._by_line else b"\n\n"
        self._rest = bytearray()
        self._at_start = True
        self._may_have_bom = True
        self._after_cr = False
        self._too_large = False
        self.is_body = False
        """The response is one JSON body, an answer or an error, instead of a stream."""
        self._name = b""

    @property
    def hint(self) -> str:
        """The catalogue setting to suggest if the unread bytes look like events that end with one newline."""
        rest = self._rest
        lines_of_data = rest.startswith(b"data:") + rest.count(b"\ndata:")
        return SINGLE_NEWLINE_HINT if lines_of_data > 1 else ""

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes.

        Raises SseTooLarge for an event above the limit. Events before it in the same `data` are returned first; then
        the next call of `feed` or `close` raises.
        """
        if self.done or not data:
            return []
        if self._too_large:
            raise self._size_error()
        if self._at_start or self._after_cr or b"\r" in data:
            data = self._normalize_line_ends(data)
        rest = self._rest
        if rest or self.is_body:
            # The separator may span two pieces, so the search starts one byte before the new one. Searching all of
            # `rest` again would make the cost of a large event in small pieces quadratic.
            seam = max(0, len(rest) - 1)
            rest += data
            if self.is_body or rest.find(self._end, seam) < 0:
                self._check_unfinished()
                return self._raise_if_too_large([])
            data = bytes(rest)
            rest.clear()
        blocks = data.split(self._end)
        if tail := blocks.pop():
            rest += tail
        return self._raise_if_too_large(self._payloads(self._join_names(blocks) if self._by_line else blocks))

    def close(self) -> list[bytes]:
        """The payloads of the remaining events after the end of the response.

        Some servers omit the blank line after the last event, which is complete if it is `[DONE]` or valid JSON.
        Raises SseTruncated for any other unfinished event, and SseTooLarge as `feed` does.
        """
        if self._too_large:
            raise self._size_error()
        if self.done:
            return []
        unfinished, hint = bytes(self._rest), self.hint
        self._rest.clear()
        if self.is_body and _is_json(unfinished):
            self.done = True
            return [unfinished]
        blocks = unfinished.split(self._end)
        last = blocks.pop()
        payloads = self._payloads(self._join_names(blocks) if self._by_line else blocks)
        return payloads + self._complete(last, hint)

    def _complete(self, block: bytes, hint: str) -> list[bytes]:
        """The payloads of the last event, whose separator is missing."""
        if self._too_large:
            raise self._size_error()
        if self.done or all(map(_is_comment, block.split(b"\n"))):
            return []
        if self._name and block.startswith(b"data:"):
            block = self._name + b"\n" + block
        payloads = _payloads_of(block)
        if payloads and payloads[-1].strip() == _DONE:
            self.done = True
            return payloads[:-1]
        last_line = block.rpartition(b"\n")[2]
        ends = _is_field(last_line) or bool(payloads and payloads[-1].endswith(last_line))
        if payloads and ends and all(map(_is_json, payloads)):
            return payloads
        raise SseTruncated(f"the stream ended inside an event, {len(block)} bytes after its beginning{hint}")

    def _payloads(self, blocks: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        for block in blocks:
            if len(block) > self._max_event_bytes:
                self._too_large = True
                return payloads
            if block.startswith(b"data: {") and b"\n" not in block:
                payloads.append(block[6:])
                continue
            for payload in _payloads_of(block):
                if payload.strip() == _DONE:
                    self.done = True
                    self._rest.clear()
                    return payloads
                payloads.append(payload)
        self._check_unfinished()
        return payloads

    def _join_names(self, lines: list[bytes]) -> list[bytes]:
        """Lines as separate events; an `event:` line is joined to the data line after it."""
        blocks: list[bytes] = []
        for line in lines:
            if line.startswith(b"event:") and len(line) <= self._max_event_bytes:
                self._name = line
            elif self._name and line.startswith(b"data:"):
                blocks.append(self._name + b"\n" + line)
                self._name = b""
            else:
                blocks.append(line)
        return blocks

    def _check_unfinished(self) -> None:
        rest = self._rest
        limit_bytes = self._limit_bytes
        # A line end at the end may be the first half of the separator, which is not part of the event.
        if len(rest) > limit_bytes and len(rest) - rest.endswith(b"\n") > limit_bytes:
            self._too_large = True

    def _raise_if_too_large(self, payloads: list[bytes]) -> list[bytes]:
        if self._too_large and not payloads:
            raise self._size_error()
        return payloads

    def _size_error(self) -> SseTooLarge:
        what = "the answer" if self.is_body else "an event of the stream"
        return SseTooLarge(f"{what} has more than {self._limit_bytes:,} bytes, which is the limit{self.hint}")

    def _normalize_line_ends(self, data: bytes) -> bytes:
        if self._at_start:
            data = self._strip_start(bytes(self._rest) + data)
            self._at_start = not data
            self.is_body = data[:1] in (b"{", b"[")
            if self.is_body:
                self._limit_bytes = WHOLE_BYTES
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _strip_start(self, data: bytes) -> bytes:
        """The data without the byte order mark and white space at the beginning of the response."""
        self._rest.clear()
        if self._may_have_bom:
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest += data
                return b""
            data = data.removeprefix(_BOM)
            self._may_have_bom = False
        return data.lstrip(_BLANKS)


def _payloads_of(block: bytes) -> list[bytes]:
    """The joined data lines of one event, its errors outside of data, and its lines that are not fields.

    The format allows a reader to ignore unknown lines. Here they are payloads, because the remainder of an event that
    lost its beginning is such a line: reading it as a chunk reports the loss.
    """
    values: list[bytes] = []
    errors: list[bytes] = []
    bare: list[bytes] = []
    event = b""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name not in _FIELDS:
            name = _field_name(name)
        if name == b"data":
            values.append(value.removeprefix(b" "))
        elif name == b"error":
            errors.append(_as_error(value))
        elif name not in _FIELDS or _is_remnant(value):
            bare.append(line)
        elif name == b"event":
            event = value.strip().lower()
    if event in _KEEPALIVE:
        values = [value for value in values if _CHOICES in value]
    elif event == b"error":
        return [_as_error(b"\n".join(values)), *_bare(bare)]
    return [*([b"\n".join(values)] if values else []), *errors, *_bare(bare)]


def _field_name(name: bytes) -> bytes:
    """The known field for a name with a byte order mark, surrounding blanks or capitals; else the name itself."""
    field = name.removeprefix(_BOM).strip().lower()
    return field if field in _FIELDS else name


def _is_remnant(value: bytes) -> bool:
    """Whether the value of a comment, or of a field other than data, is a chunk that lost its beginning."""
    if b"}" not in value:
        return False
    return _CHOICES in value or (value.rstrip().endswith(b"}") and not _is_json(value))


def _bare(lines: list[bytes]) -> list[bytes]:
    """Lines without a field name: one JSON value over several lines, or one payload for each line."""
    whole = b"\n".join(lines)
    return [whole] if lines and _is_json(whole) else lines


def _as_error(value: bytes) -> bytes:
    """An error chunk with the provider's text or JSON."""
    value = value.strip()
    if value in _EMPTY:
        value = b"the provider reported an error without a message"
    if not _is_json(value):
        value = msgspec.json.encode(value.decode(errors="replace"))
    return b'{"error":' + value + b"}"


def _is_json(value: bytes) -> bool:
    """Whether the value is one complete JSON object or list."""
    if value.lstrip()[:1] not in (b"{", b"["):
        return False
    for decode in (_decode, repair_json):
        with contextlib.suppress(ValueError, RecursionError):
            decode(value)
            return True
    return False


def _is_comment(line: bytes) -> bool:
    return not line or (line.startswith(b":") and not _is_remnant(line[1:]))


def _is_field(line: bytes) -> bool:
    return _field_name(line.partition(b":")[0]) in _FIELDS
