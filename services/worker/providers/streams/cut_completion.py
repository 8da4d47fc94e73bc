"""What the model wrote in the body of a response that is not a complete chat completion."""

from __future__ import annotations

from typing import Final

from penstock.contract.reply import answer_bytes
from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.wire_errors import WireError
from services.worker.providers.size_limits import WHOLE_BYTES
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkReader
from services.worker.providers.streams.sse import SseReader
from services.worker.providers.streams.whole_completion import is_event_stream, without_bom

__all__ = ["written_bytes"]

_CHOICES: Final = b'"choices"'
_MESSAGE: Final = b'"message"'


def written_bytes(body: bytes, stream_format: StreamFormat) -> int:
    """The number of bytes that the model wrote, as far as `body` was received; 0 for a web page or an error.

    Of a stream of events, that is the content of the chunks before the first that cannot be read. A JSON object that
    was cut is not decoded: all that follows its first message counts.
    """
    body = without_bom(body)
    if is_event_stream(body):
        return _in_events(body, stream_format)
    if not body.lstrip().startswith(b"{"):
        return 0
    _, _, choices = body.partition(_CHOICES)
    _, _, message = choices.partition(_MESSAGE)
    return len(message)


def _in_events(body: bytes, stream_format: StreamFormat) -> int:
    events, chunks = SseReader(WHOLE_BYTES, stream_format), ChunkReader(stream_format)
    written = 0
    try:
        for payload in events.feed(body):
            if (delta := chunks.read(payload)) is not None:
                written += answer_bytes(delta.text) + sum(map(content_bytes, delta.choices))
    except WireError:
        pass  # the failure of the call is known already
    return written
