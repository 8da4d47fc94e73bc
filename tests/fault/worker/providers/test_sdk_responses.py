"""D6, D10: both SDKs read responses within the same limits, although they use different HTTP libraries."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest

from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.groq_sdk import GROQ
from services.worker.providers.model_list import ModelList
from services.worker.providers.openai_sdk import OPENAI
from services.worker.providers.sdk import SdkProvider
from tests.fault.worker.providers.rows.wire import JSON, endlessly, gzip_bomb, scripted
from tests.harness.providers.direct_calls import begin_direct_calls
from tests.harness.providers.scripted_provider import (
    DONE,
    Script,
    ScriptedProvider,
    chunk,
    head,
    scripted_provider,
)

MODELS = ("actor", "other")


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider(*MODELS) as running:
        yield running


@pytest.fixture(
    params=[(OPENAI, False), (GROQ, False), (OPENAI, True), (GROQ, True)],
    ids=["openai", "groq", "openai-direct", "groq-direct"],
)
async def sdk(provider: ScriptedProvider, request: pytest.FixtureRequest) -> AsyncIterator[SdkProvider]:
    kind, direct = request.param
    sdk = SdkProvider("hostile", kind, provider.url, {"KEY": "sk-test"})
    if direct:
        await begin_direct_calls(provider, sdk)
    yield sdk
    await sdk.close()


@pytest.mark.parametrize(
    ("behaviour", "failure", "message_has"),
    [
        (endlessly(head("500 Oh", JSON), b"x" * 65_536), "server_error", "500"),
        (
            scripted(head("200 OK", JSON, "Content-Encoding: br"), b"x"),
            "malformed",
            "content encoding br",
        ),
        (scripted(gzip_bomb().replace(b"200 OK", b"500 Oh")), "server_error", "500"),
        (
            scripted(head("308 Elsewhere", JSON, "Location: http://[", "Content-Length: 0")),
            "server_error",
            "308",
        ),
        (
            scripted(head("200 OK", JSON, "X-Long: " + "b" * 200_000)),
            "connection",
            "broke: Got more than",
        ),
    ],
)
async def test_an_unusable_response_raises_a_provider_failure(
    provider: ScriptedProvider, sdk: SdkProvider, behaviour: Script, failure: str, message_has: str
) -> None:
    provider.behaviours["actor"] = behaviour

    with pytest.raises(ProviderFailure, match=message_has) as caught:
        await sdk.chat("KEY", b'{"model":"actor"}', "a.1")

    assert caught.value.kind == failure
    assert provider.encodings == {"identity"}


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
async def test_a_response_has_its_status(provider: ScriptedProvider, sdk: SdkProvider, status: int) -> None:
    provider.behaviours["actor"] = scripted(head(f"{status} Yes", JSON), b"{}")
    response = await sdk.chat("KEY", b'{"model":"actor"}', "a.1")
    assert response.status == status
    await response.close()


async def test_a_response_is_read_in_pieces(provider: ScriptedProvider, sdk: SdkProvider) -> None:
    provider.behaviours["actor"] = endlessly(head(), chunk("x"))

    response = await sdk.chat("KEY", b'{"model":"actor"}', "a.1")

    assert (await anext(response.pieces())).startswith(b"data: {")
    await response.close()


@pytest.mark.parametrize("at_end", ["Content-Length", "Transfer-Encoding"])
@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
async def test_d6_a_truncated_body_is_an_error_with_any_encoding(
    provider: ScriptedProvider, sdk: SdkProvider, encoding: str, at_end: str
) -> None:
    body = chunk("Hello", "stop") * 50 + DONE
    packed = {"identity": body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[encoding]
    begin = head("200 OK", "text/event-stream", f"Content-Encoding: {encoding}")
    chunked = at_end == "Transfer-Encoding"
    begin = begin[:-2] + (
        b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Content-Length: %d\r\n\r\n" % len(packed)
    )

    async def read(*parts: bytes) -> bytes:
        provider.behaviours["actor"] = scripted(begin, *parts)
        response = await sdk.chat("KEY", b'{"model":"actor"}', "a.1")
        try:
            return b"".join([piece async for piece in response.pieces()])
        finally:
            await response.close()

    halves = [packed[:40], packed[40:]]
    framed = [b"%x\r\n%b\r\n" % (len(part), part) for part in halves] if chunked else halves
    assert await read(*framed, *([b"0\r\n\r\n"] if chunked else [])) == body
    cut = framed if chunked else [packed[:-1]]
    with pytest.raises(ProviderFailure) as caught:
        await read(*cut)
    assert caught.value.kind == "connection"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_d6_a_truncated_compressed_body_without_length_is_an_error(
    provider: ScriptedProvider, sdk: SdkProvider, encoding: str
) -> None:
    packed = (gzip if encoding == "gzip" else zlib).compress(chunk("Hello", "stop"))
    begin = head("200 OK", "text/event-stream", f"Content-Encoding: {encoding}")
    provider.behaviours["actor"] = scripted(begin, packed[:-1])
    response = await sdk.chat("KEY", b'{"model":"actor"}', "a.1")
    with pytest.raises(ProviderFailure, match="is truncated") as caught:
        _ = [piece async for piece in response.pieces()]
    assert caught.value.kind == "broken_stream"
    await response.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity"])
async def test_an_error_body_is_read_with_any_encoding(
    provider: ScriptedProvider, sdk: SdkProvider, encoding: str
) -> None:
    body = b'{"error":{"message":"the model is asleep"}}'
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(encoding, body)
    provider.behaviours["actor"] = scripted(head("503 Oh", JSON, f"Content-Encoding: {encoding}"), packed)
    with pytest.raises(ProviderFailure) as caught:
        await sdk.chat("KEY", b'{"model":"actor"}', "a.1")
    assert (caught.value.status, caught.value.kind) == (503, "server_error")
    assert ("the model is asleep" in str(caught.value)) == (encoding != "br")


@pytest.mark.parametrize(
    "headers", [["X-Long: " + "b" * 64 * 1024], [f"X-{n}: {'b' * 300}" for n in range(200)]]
)
async def test_headers_of_64_kb_are_read(
    provider: ScriptedProvider, sdk: SdkProvider, headers: list[str]
) -> None:
    provider.behaviours["actor"] = scripted(head("200 OK", JSON, *headers), b"{}")
    response = await sdk.chat("KEY", b'{"model":"actor"}', "a.1")
    assert sum(map(len, response.headers.values())) >= 60_000
    await response.close()


@pytest.mark.parametrize(
    "listing",
    [
        itertools.repeat(b"x" * 65_536),
        (b'{"data":' + b"[" * 60_000,),
        (b'{"data":[{"id":5}]}',),
    ],
    ids=["endless", "deep", "nonsense"],
)
async def test_an_unreadable_model_list_is_none(
    provider: ScriptedProvider,
    sdk: SdkProvider,
    listing: Iterable[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provider, "listing", listing)
    assert await sdk.models() is None


async def test_a_model_list_is_read(sdk: SdkProvider) -> None:
    assert await sdk.models() == ModelList(frozenset(MODELS))
