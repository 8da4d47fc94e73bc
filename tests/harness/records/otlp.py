"""An OTLP endpoint that keeps the received spans, decoded."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

__all__ = ["OtlpEndpoint", "ReceivedSpan", "otlp_endpoint"]


class ReceivedSpan(Struct, frozen=True):
    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, object]


class OtlpEndpoint:
    def __init__(self) -> None:
        self.url = ""
        self.spans: list[ReceivedSpan] = []

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        message = ExportTraceServiceRequest.FromString(body)
        for resource in message.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_span(names["service.name"], span) for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    async def trace(self, request_id: str, *, spans: int, timeout_s: float = 10.0) -> list[ReceivedSpan]:
        """The trace that holds this request, once at least `spans` of its spans have arrived."""
        async with asyncio.timeout(timeout_s):
            while True:
                trace_ids = {
                    span.trace_id
                    for span in self.spans
                    if span.attributes.get("penstock.request.id") == request_id
                }
                found = [span for span in self.spans if span.trace_id in trace_ids]
                if len(found) >= spans:
                    assert len(trace_ids) == 1
                    return found
                await asyncio.sleep(0.05)


def _span(service: str, span: object) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        {each.key: _value(each.value) for each in span.attributes},
    )


def _value(value: object) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)


@asynccontextmanager
async def otlp_endpoint() -> AsyncIterator[OtlpEndpoint]:
    endpoint = OtlpEndpoint()
    app = web.Application()
    app.router.add_post("/v1/traces", endpoint.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    try:
        yield endpoint
    finally:
        await runner.cleanup()
