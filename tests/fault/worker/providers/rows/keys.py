"""Errors for a credential that is invalid, has no permission, or whose provider account has no credit.

The bodies are taken from public issues and documentation (November 2026), with changed figures.
"""

from __future__ import annotations

from tests.fault.worker.providers.rows.table import Both, Row, all_models, in_200
from tests.fault.worker.providers.rows.wire import Answer, error, error_json

COOLDOWN_S = 0.6


def bad_key(name: str, answer: Answer | Both) -> Row:
    """One credential is rejected: the request succeeds with another at once, which later requests use too."""
    return Row(
        name=f"key, {name}",
        script={"first": [answer]},
        bad_keys=1,
        text="from first",
        calls={"first": 2},
        took_s=(0.0, 1.5),
        quiet=False,
        rest_s=COOLDOWN_S + 0.1,
    )


QUOTA = "You exceeded your current quota, please check your plan and billing details."


BILLING = (
    bad_key(
        "openai insufficient_quota",
        error(429, error_json("insufficient_quota", QUOTA, type="insufficient_quota")),
    ),
    bad_key(
        "openai hard limit",
        error(
            400,
            error_json(
                "billing_hard_limit_reached",
                "Billing hard limit has been reached",
                type="invalid_request_error",
            ),
        ),
    ),
    bad_key(
        "anthropic credit",
        error(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "Your credit balance is too low to access the Anthropic API.",
                },
            },
        ),
    ),
    bad_key(
        "deepseek 402",
        error(402, error_json("invalid_request_error", "Insufficient Balance", type="unknown_error")),
    ),
    bad_key(
        "openrouter 402",
        error(
            402,
            error_json(
                402,
                "This request requires more credits, or fewer max_tokens. You "
                "requested up to 16384 tokens, but can only afford 3919.",
                metadata={"provider_name": None},
            ),
        ),
    ),
    bad_key("openrouter key limit", error(403, error_json(403, "Key limit exceeded (monthly limit)."))),
    bad_key(
        "openrouter 402 in a 200",
        in_200(
            error_json(402, "Insufficient credits. Add more."),
            event={
                "id": "gen-1",
                "choices": [],
                "error": {"code": 402, "message": "Insufficient credits. Add more."},
            },
        ),
    ),
    bad_key(
        "xai credits used up",
        error(
            429,
            {
                "code": "Some resource has been exhausted",
                "error": "Your team has either used all "
                "available credits or reached its monthly spending limit.",
            },
        ),
    ),
    bad_key(
        "fireworks suspended",
        error(
            412,
            {
                "error": {
                    "message": "Account x is suspended, possibly due to reaching the "
                    "monthly spending limit or failure to pay past invoices",
                    "code": "PRECONDITION_FAILED",
                }
            },
        ),
    ),
    bad_key(
        "together credit",
        error(
            402,
            {
                "error": {
                    "message": "Credit limit exceeded, please navigate to billing to add credit",
                    "type": "credit_limit",
                    "param": None,
                    "code": None,
                }
            },
        ),
    ),
    bad_key("402 with plain text", error(402, "Payment Required")),
)


KEYS = (
    bad_key(
        "openai 401",
        error(
            401,
            error_json("invalid_api_key", "Incorrect API key provided: sk-x", type="invalid_request_error"),
        ),
    ),
    bad_key(
        "xai key as 400",
        error(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "Incorrect API key "
                "provided: na***ys. You can obtain an API key from https://console.x.ai.",
            },
        ),
    ),  # aider-desk issue 653
    bad_key(
        "gemini key as 400",
        error(
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "API key not valid. Please pass a valid API key.",
                        "status": "INVALID_ARGUMENT",
                        "details": [
                            {
                                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                                "reason": "API_KEY_INVALID",
                                "domain": "googleapis.com",
                            }
                        ],
                    }
                }
            ],
        ),
    ),
    bad_key(
        "gemini key expired",
        error(
            400,
            {
                "error": {
                    "code": 400,
                    "message": "API key expired. Please renew the API key.",
                    "status": "INVALID_ARGUMENT",
                }
            },
        ),
    ),
    bad_key("mistral 401", error(401, {"detail": "Unauthorized"})),
    bad_key(
        "azure 401",
        error(401, error_json("401", "Access denied due to invalid subscription key or wrong API endpoint.")),
    ),
    bad_key(
        "anthropic 401",
        error(
            401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}
        ),
    ),
    bad_key("invalid key in a 200", in_200(error_json(401, "User not found."))),
    bad_key(
        "fireworks 403",
        error(403, error_json(None, "The API key you provided is invalid.", type="invalid_request_error")),
    ),
    Row(
        name="no key is accepted",
        script={"first": [error(401, error_json("invalid_api_key", "Incorrect API key"))]},
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
        quiet=False,
        neighbour=None,
        rest_s=COOLDOWN_S + 0.1,
        took_s=(0.0, 1.5),
    ),
    Row(
        name="no credit with any provider",
        script=all_models(error(402, error_json("invalid_request_error", "Insufficient Balance"))),
        code="provider_credentials",
        message_has=("Insufficient Balance",),
        calls={"first": 2, "second": (1, 2), "long": (0, 2)},
        quiet=False,
        neighbour=None,
        rest_s=COOLDOWN_S + 0.1,
        took_s=(0.0, 2.0),
    ),
)
