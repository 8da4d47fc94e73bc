"""Server-sent events, read incrementally and strictly.

Format: WHATWG HTML, "Server-sent events", section 9.2.6 (fields, line ends, byte order mark). `[DONE]` is
OpenAI's mark for the end of a stream.
"""

from __future__ import annotations

from typing import Final

from services.worker.calls.bounds import EVENT_BYTES
from services.worker.calls.wire_errors import SseTooLarge, SseTruncated

__all__ = ["SseReader", "SseTooLarge", "SseTruncated"]

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"


class SseReader:
    """Turns the bytes of one response into the payloads of its events.

    The outcome (payloads, `done`, errors) does not depend on how the bytes were cut into pieces. A line end
    counts as one byte of its event, whichever of the three it was.
    """

    __slots__ = ("_after_cr", "_at_start", "_max_event_bytes", "_rest", "_too_large", "done")

    def __init__(self, max_event_bytes: int = EVENT_BYTES) -> None:
        self.done = False
        """`[DONE]` came; whatever follows it is ignored."""
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        self._at_start = True
        self._after_cr = False
        self._too_large = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes.

        Raises SseTooLarge for an event over the bound; events completed before it in the same `data` are
        still returned, and the next call (or `close`) raises.
        """
        if self.done or not data:
            return []
        if self._too_large:
            raise self._size_error()
        if self._at_start or self._after_cr or b"\r" in data:
            data = self._with_plain_line_ends(data)
        rest = self._rest
        if rest:
            # The separator may straddle the seam, so the search starts one byte before it. What was searched
            # is never searched again, or a large event in small pieces would cost the square of its size.
            seam = len(rest) - 1
            rest += data
            if rest.find(b"\n\n", seam) < 0:
                self._check_unfinished()
                return self._raise_if_too_large([])
            data = bytes(rest)
            rest.clear()
        blocks = data.split(b"\n\n")
        if tail := blocks.pop():
            rest += tail
        return self._raise_if_too_large(self._payloads(blocks))

    def close(self) -> None:
        """The response has ended. Raises SseTruncated if inside an event, SseTooLarge as `feed` does.

        Servers exist that leave out the blank line after the last `data: [DONE]`; nothing can be missing
        there, so it counts as `done`.
        """
        if self._too_large:
            raise self._size_error()
        if self.done:
            return
        unfinished = bytes(self._rest)
        self._rest.clear()
        if _payload(unfinished) == _DONE:
            self.done = True
        elif any(line and not line.startswith(b":") for line in unfinished.split(b"\n")):
            raise SseTruncated(
                f"the stream ended inside an event, {len(unfinished)} bytes after its beginning"
            )

    def _payloads(self, blocks: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        for block in blocks:
            if len(block) > self._max_event_bytes:
                self._too_large = True
                return payloads
            if block.startswith(b"data: ") and b"\n" not in block:
                payload: bytes | None = block[6:]
            else:
                payload = _payload(block)
            if payload is None:
                continue
            if payload.startswith(_DONE) and payload.strip() == _DONE:
                self.done = True
                self._rest.clear()
                return payloads
            payloads.append(payload)
        self._check_unfinished()
        return payloads

    def _check_unfinished(self) -> None:
        rest = self._rest
        # A line end at the end may be the first half of the separator, which is no part of the event.
        if len(rest) > self._max_event_bytes and len(rest) - rest.endswith(b"\n") > self._max_event_bytes:
            self._too_large = True

    def _raise_if_too_large(self, payloads: list[bytes]) -> list[bytes]:
        if self._too_large and not payloads:
            raise self._size_error()
        return payloads

    def _size_error(self) -> SseTooLarge:
        return SseTooLarge(
            f"an event of the stream has more than {self._max_event_bytes:,} bytes, the most there may be"
        )

    def _with_plain_line_ends(self, data: bytes) -> bytes:
        if self._at_start:
            data = bytes(self._rest) + data
            self._rest.clear()
            if len(data) < len(_BOM) and _BOM.startswith(data):
                self._rest += data
                return b""
            self._at_start = False
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data


def _payload(block: bytes) -> bytes | None:
    """The data lines of one event, joined; None when it has none (a comment, `event:` alone)."""
    values: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values) if values else None
