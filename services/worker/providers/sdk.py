"""Calls as the openai and groq SDKs make them: raw bytes in both directions, without the SDKs' retries."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final

import aiohttp
from msgspec import Struct

from penstock.runtime.config.catalogue import RateLimitHeaders, SdkName, StreamFormat
from services.worker.providers.compression import DecompressionError, content_encoding, decompress
from services.worker.providers.direct_calls import LABEL, DirectCalls, DirectResponse
from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.host_names import UnknownHost
from services.worker.providers.http_connections import NoCookies, configure_connections
from services.worker.providers.model_list import ModelList, read_model_list
from services.worker.providers.size_limits import ERROR_BYTES, MODELS_BYTES, read_into
from services.worker.providers.tls import handshake_failure_text

__all__ = ["ErrorBody", "SdkKind", "SdkProvider"]

_log: Final = logging.getLogger(__name__)
_CONNECT_S: Final = 5.0
_NO_CONNECTION: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_CONTENT_ENCODING: Final = "content-encoding"
_IDENTITY: Final = "identity"
_DEFAULT_FORMAT: Final = StreamFormat()
_SECRET_CHARACTERS: Final = 8
"""Minimum length of a secret key. An endpoint that requires no key is sent a shorter text such as `none`."""


class SdkKind(Struct, frozen=True, kw_only=True):
    """The differences between the SDKs, which one tool generates for different HTTP libraries."""

    sdk: SdkName
    client: type[Any]
    base_url: str | None = None
    """The default base URL; None: the SDK's default."""
    http_client: Callable[..., Any]
    timeout: type[Any]
    raw_response: type[Any]
    """The response type that makes the SDK return the HTTP response unread."""
    stream: type[Any]
    status_error: type[Any]
    """The exception for an HTTP status of 300 or above, with the raw response."""
    error_body: type[ErrorBody]
    """An ErrorBody that is also a stream type of the HTTP library."""
    tls: ssl.SSLContext | None = None
    """None: the usual authorities are trusted."""

    def connect(self, base_url: str | None, key: str, direct: DirectCalls) -> Any:
        """A client with a time limit for connecting only; the attempt enforces all other time limits.

        `direct` records its requests.
        """
        timeout = self.timeout(None, connect=_CONNECT_S)
        http_client = self.http_client(
            timeout=timeout,
            verify=True if self.tls is None else self.tls,
            # A prompt must not be sent to any endpoint but the configured one.
            follow_redirects=False,
            headers={"Accept-Encoding": _IDENTITY},
            cookies=NoCookies(),
            event_hooks={"response": [self._limit_error_body]},
        )
        configure_connections(http_client, direct.record)
        return self.client(
            api_key=key,
            base_url=base_url or self.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=http_client,
        )

    def translate(self, error: Exception) -> ProviderFailure:
        """The ProviderFailure for an exception of the SDK or its HTTP library."""
        if isinstance(error, ProviderFailure):
            return error
        if isinstance(error, self.status_error):
            response = error.response
            return failure_of_status(response.status_code, response.content, response.headers, time.time())
        return _connection_failure(error)

    async def _limit_error_body(self, response: Any) -> None:
        # The SDK reads the whole body of an error before it raises the exception.
        if not response.is_success:
            encoding = response.headers.pop(_CONTENT_ENCODING, None)
            response.stream = self.error_body(response.stream, encoding)


class ErrorBody:
    """The readable beginning of an error body, at most ERROR_BYTES."""

    def __init__(self, stream: Any, encoding: str | None) -> None:
        self._stream = stream
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = ERROR_BYTES
        with contextlib.suppress(DecompressionError):  # the status is sufficient
            async for piece in decompress(self._stream, content_encoding(self._encoding)):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return

    async def aclose(self) -> None:
        await self._stream.aclose()


class SdkProvider:
    """One endpoint with a client for each credential."""

    def __init__(
        self,
        name: str,
        kind: SdkKind,
        base_url: str | None,
        keys: Mapping[str, str | None],
        *,
        rate_limit_headers: RateLimitHeaders | None = None,
        stream_format: StreamFormat = _DEFAULT_FORMAT,
    ) -> None:
        """`keys`: by credential; None: the credential must not be used before `set_key`."""
        self.name = name
        self.rate_limit_headers: RateLimitHeaders = rate_limit_headers or kind.sdk
        self.stream_format = stream_format
        self.credentials = tuple(keys)
        self._kind = kind
        self._base_url = base_url
        self._clients: dict[str, Any] = {}
        self._direct: dict[str, DirectCalls] = {}
        for credential, key in keys.items():
            if key is not None:
                self._connect(credential, key)
        self._secrets = {key for key in keys.values() if key is not None and len(key) >= _SECRET_CHARACTERS}

    def set_key(self, credential: str, key: str) -> None:
        """Keeps the client and its connections: the client reads its key for each request."""
        if len(key) >= _SECRET_CHARACTERS:
            self._secrets.add(key)
        client = self._clients.get(credential)
        if client is None:
            self._connect(credential, key)
        else:
            client.api_key = key
            self._direct[credential].use_key(key)

    def _connect(self, credential: str, key: str) -> None:
        direct = self._direct[credential] = DirectCalls(key, _CONNECT_S)
        self._clients[credential] = self._kind.connect(self._base_url, key, direct)

    def chat(self, credential: str, body: bytes, label: str) -> Coroutine[Any, Any, _SdkResponse]:
        return self._post("/chat/completions", credential, body, label)

    def embeddings(self, credential: str, body: bytes, label: str) -> Coroutine[Any, Any, _SdkResponse]:
        return self._post("/embeddings", credential, body, label)

    async def _post(self, path: str, credential: str, body: bytes, label: str) -> _SdkResponse:
        try:
            response: Any = await self._direct[credential].post(path, body, label)
            if response is None:
                response = await self._clients[credential].post(
                    path,
                    cast_to=self._kind.raw_response,
                    content=body,
                    options={"headers": {"Content-Type": "application/json", LABEL: label}},
                    stream=True,  # also for a whole reply: the worker reads the body under its own time limits
                    stream_cls=self._kind.stream,
                )
            failure = None if response.is_success else await _refused(response)
        except Exception as error:
            raise self._kind.translate(error) from error
        if failure is not None:
            raise failure
        return await self._open(response)

    def redact_keys(self, failure: ProviderFailure) -> None:
        failure.redact(self._secrets)

    async def models(self) -> ModelList | None:
        """Requested with each credential in turn until one request succeeds."""
        for credential, client in tuple(self._clients.items()):
            try:
                return await self._models(client)
            except ProviderFailure as failure:
                self.redact_keys(failure)
                _log.warning(
                    "provider %s, credential %s: the model list cannot be read; its models are called anyway: %s",
                    self.name,
                    credential,
                    failure,
                )
        return None

    async def _models(self, client: Any) -> ModelList:
        try:
            raw = await client.get(
                "/models", cast_to=self._kind.raw_response, stream=True, stream_cls=self._kind.stream
            )
        except Exception as error:
            raise self._kind.translate(error) from error
        response = await self._open(raw)
        body = bytearray()
        try:
            await read_into(body, response.pieces(), MODELS_BYTES, "the model list")
            return read_model_list(body)
        except (ValueError, RecursionError) as error:
            raise ProviderFailure("malformed", f"the model list cannot be read: {error}") from error
        finally:
            await response.close()

    async def _open(self, response: Any) -> _SdkResponse:
        try:
            encoding = content_encoding(response.headers.get(_CONTENT_ENCODING))
        except DecompressionError as error:
            await response.aclose()
            raise ProviderFailure("malformed", str(error)) from error
        return _SdkResponse(response, encoding, self._kind.translate)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


class _SdkResponse:
    def __init__(
        self, response: Any, encoding: str | None, translate: Callable[[Exception], ProviderFailure]
    ) -> None:
        self._response = response
        self._encoding = encoding
        self._translate = translate
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            if self._encoding is None:
                async for piece in self._response.aiter_raw():
                    yield piece
            else:
                async for piece in decompress(self._response.aiter_raw(), self._encoding):
                    yield piece
        except DecompressionError as error:
            raise ProviderFailure("broken_stream", str(error)) from error
        except Exception as error:
            raise self._translate(error) from error

    async def close(self) -> None:
        await self._response.aclose()


async def _refused(response: DirectResponse) -> ProviderFailure:
    """The failure of a response whose status is not 2xx. Raises the errors of aiohttp."""
    headers = dict(response.headers)
    body = ErrorBody(response.aiter_raw(), headers.pop(_CONTENT_ENCODING, None))
    try:
        text = b"".join([piece async for piece in body])
    finally:
        await response.aclose()
    return failure_of_status(response.status_code, text, headers, time.time())


def _connection_failure(error: Exception) -> ProviderFailure:
    """The failure for the innermost cause of an SDK exception.

    The SDK's exception type is unreliable: its transport reports a reset connection as a timeout.
    """
    cause: BaseException = error
    connected = not isinstance(cause, _NO_CONNECTION)
    while cause.__cause__ is not None:
        cause = cause.__cause__
        connected = connected and not isinstance(cause, _NO_CONNECTION)
    if not connected and (problem := handshake_failure_text(cause)):
        return ProviderFailure("no_tls", problem, connected=False)
    message = str(cause) or type(cause).__name__
    if isinstance(cause, UnknownHost):
        return ProviderFailure("connection", message, connected=False)
    if isinstance(cause, TimeoutError):
        return ProviderFailure("connection", f"the connection timed out: {message}", connected=connected)
    return ProviderFailure("connection", f"the connection broke: {message}", connected=connected)
