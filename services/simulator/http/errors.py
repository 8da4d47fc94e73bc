"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import msgspec

__all__ = ["ApiError", "invalid_request", "model_not_found", "unsupported_parameter", "wrong_key"]

Header = tuple[bytes, bytes]


class ApiError(Exception):
    """An error answer; `body()` encodes it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: tuple[Header, ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = headers

    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}
        )


def invalid_request(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, message, param=param)


def unsupported_parameter(name: str) -> ApiError:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return ApiError(400, message, code="unsupported_parameter", param=name)


def model_not_found(model: str, why: str = "") -> ApiError:
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(404, f"{message} {why}".rstrip(), code="model_not_found", param="model")


def wrong_key() -> ApiError:
    return ApiError(401, "Incorrect API key provided.", code="invalid_api_key")
