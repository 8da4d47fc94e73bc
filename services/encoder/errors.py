"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import msgspec

__all__ = ["ApiError", "QueueFull", "invalid", "model_not_found"]


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
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def body(self) -> bytes:
        return msgspec.json.encode(
            {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}
        )


class QueueFull(ApiError):
    """Too much work is in progress."""

    def __init__(self, retry_after_s: int) -> None:
        message = f"The encoder has as much work as it accepts. Try again in {retry_after_s} s."
        super().__init__(429, message, kind="rate_limit_error", code="rate_limit_exceeded")
        self._retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self._retry_after_s)}


def invalid(message: str, param: str | None = None) -> ApiError:
    return ApiError(400, message, param=param)


def model_not_found(model: str, known: str) -> ApiError:
    message = f"The model `{model[:100]}` does not exist; the encoder has `{known}`."
    return ApiError(404, message, code="model_not_found", param="model")
