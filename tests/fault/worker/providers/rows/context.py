"""Errors for a request that is too long for a model or too large for a limit, in all known formats.

The bodies are taken from public issues and documentation (November 2026), with changed figures.
"""

from __future__ import annotations

import json

from tests.fault.worker.providers.rows.table import Both, Row, all_models, in_200
from tests.fault.worker.providers.rows.wire import Answer, error, error_json, sized, stream


def too_long(name: str, answer: Answer | Both) -> Row:
    """The model with the longer context answers; the second model has the same context and is not called."""
    return Row(
        name=f"too long, {name}",
        script={"first": [answer]},
        text="from long",
        model="long",
        calls={"first": 1, "long": 1},
    )


def too_large(name: str, answer: Answer) -> Row:
    """A request larger than a limit per minute is not retried later and does not delay other requests."""
    return Row(
        name=f"too large, {name}",
        script={"first": [answer], "second": [answer], "long": [answer]},
        code="request_too_large",
        calls={"first": 1, "second": (0, 1), "long": (0, 1)},
    )


OPENAI_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
)


GEMINI_LONG = "The input token count (218152) exceeds the maximum number of tokens allowed (131072)."


CONTEXT = (
    too_long(
        "openai",
        error(
            400,
            error_json(
                "context_length_exceeded", OPENAI_LONG, type="invalid_request_error", param="messages"
            ),
        ),
    ),
    too_long(
        "openai, input tokens",
        error(
            400,
            error_json(
                "context_length_exceeded",
                "Input tokens exceed the configured "
                "limit of 272000 tokens. Your messages resulted in 300114 tokens.",
                type="invalid_request_error",
            ),
        ),
    ),
    too_long(
        "azure",
        error(
            400,
            {
                "error": {
                    "code": "context_length_exceeded",
                    "message": OPENAI_LONG,
                    "type": "invalid_request_error",
                    "param": "messages",
                    "innererror": None,
                }
            },
        ),
    ),
    too_long(
        "gemini, a list",
        error(400, [{"error": {"code": 400, "message": GEMINI_LONG, "status": "INVALID_ARGUMENT"}}]),
    ),  # gemini-cli issue 12214
    too_long(
        "gemini, JSON in the message",
        error(
            400,
            error_json(
                400,
                json.dumps({"error": {"code": 400, "message": GEMINI_LONG, "status": "INVALID_ARGUMENT"}}),
                status="Bad Request",
            ),
        ),
    ),  # gemini-cli issue 4231
    too_long(
        "vllm, top level",
        error(
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 "
                "tokens. However, you requested 4600 tokens (4500 in the messages, 100 in the completion).",
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
    ),  # vllm issue 4667
    too_long(
        "vllm, the newer text",
        error(
            400,
            error_json(
                400,
                "You passed 4097 input tokens and requested 512 output "
                "tokens. However, the model's context length is only 4096 tokens.",
                type="BadRequestError",
            ),
        ),
    ),
    too_long(
        "sglang",
        error(
            400,
            {
                "object": "error",
                "message": "The input (9102 tokens) is longer than the model's context length (8192 tokens).",
                "type": "BadRequestError",
                "code": 400,
            },
        ),
    ),
    too_long(
        "sglang, in a 200",
        in_200(
            {
                "error": {
                    "object": "error",
                    "message": "Input length (9102 tokens) exceeds the maximum allowed length (8186 tokens).",
                    "type": "BadRequestError",
                    "code": 400,
                }
            }
        ),
    ),  # sglang PR 20027
    too_long(
        "llama.cpp",
        error(
            400,
            error_json(
                400,
                "the request exceeds the available context size. try increasing the "
                "context size or enable context shift",
                type="exceed_context_size_error",
                n_prompt_tokens=14429,
                n_ctx=8192,
            ),
        ),
    ),  # llama.cpp PR 15780
    too_long(
        "llama.cpp, a 500",
        error(
            500,
            error_json(
                500,
                "the request exceeds the available context size, try increasing it",
                type="exceed_context_size_error",
                n_prompt_tokens=1407,
                n_ctx=256,
            ),
        ),
    ),
    too_long(
        "mlx, a 500", error(500, error_json(500, "Context size has been exceeded.", type="server_error"))
    ),
    too_long(
        "llama-cpp-python",
        error(
            500,
            error_json(
                None, "Requested tokens (2285) exceed context window of 2048", type="internal_server_error"
            ),
        ),
    ),
    too_long(
        "lm studio, text",
        error(
            400,
            {
                "error": "Trying to keep the first 6547 tokens when context the overflows. "
                "However, the model is loaded with context length of only 4096 tokens, which is not enough."
            },
        ),
    ),
    too_long(
        "lm studio, n_keep",
        error(
            400,
            {
                "error": "The number of tokens to keep from the initial prompt is greater "
                "than the context length (n_keep: 13055>= n_ctx: 4096)."
            },
        ),
    ),  # openclaude issue 353
    too_long(
        "lm studio, in a 200",
        Both(
            stream(
                b'event: error\ndata: {"error":{"message":"Trying to keep the first 6547 tokens when '
                b'context the overflows. However, the model is loaded with context length of only 4096"}}'
                b"\n\n",
                done=False,
            ),
            sized(
                b'{"error":"Trying to keep the first 6547 tokens when context the overflows. '
                b'However, the model is loaded with context length of only 4096 tokens"}'
            ),
        ),
    ),  # lmstudio issue 2322
    too_long(
        "anthropic",
        error(
            400,
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "prompt is too long: 202788 tokens > 200000 maximum",
                },
            },
        ),
    ),
    too_long(
        "anthropic, with the output",
        error(
            400,
            {
                "error": {
                    "type": "invalid_request_error",
                    "code": None,
                    "message": "input length and `max_tokens` exceed context limit: 90402 + 116650 > 204648, "
                    "decrease input length or `max_tokens` and try again",
                }
            },
        ),
    ),  # bolt.new issue 7414
    too_long(
        "mistral",
        error(
            400,
            {
                "object": "error",
                "message": "Prompt contains 42000 tokens and 0 draft tokens, too "
                "large for model with 32768 maximum context length",
                "type": "invalid_request_prompt",
                "param": None,
                "code": "3051",
            },
        ),
    ),
    too_long("bedrock", error(400, {"message": "Input is too long for requested model."})),
    too_long(
        "bedrock through a gateway",
        error(
            400,
            error_json(
                None,
                "ValidationException: The model returned the following "
                "errors: Input is too long for requested model.",
                type=None,
            ),
        ),
    ),
    too_long(
        "xai",
        error(
            400,
            {
                "code": "Client specified an invalid argument",
                "error": "This model's maximum prompt "
                "length is 131072 but the request contains 136973 tokens.",
            },
        ),
    ),  # cline issue 3120
    too_long(
        "openrouter, the message of the provider",
        error(
            400,
            error_json(
                400,
                "Provider returned error",
                metadata={
                    "provider_name": "Nvidia",
                    "raw": json.dumps(
                        {"error": {"message": OPENAI_LONG, "type": "Bad Request", "code": 400}}
                    ),
                },
            ),
        ),
    ),  # cline issue 13194
    too_long(
        "openrouter, the endpoint",
        error(
            400,
            error_json(
                400,
                "This endpoint's maximum context length is 32768 tokens. "
                "However, you requested about 42832 tokens (42832 of text input).",
            ),
        ),
    ),  # refly issue 1177
    too_long(
        "together",
        error(
            422,
            error_json(
                None,
                "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
                "8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`",
                type="invalid_request_error",
            ),
        ),
    ),
    too_long(
        "fireworks",
        error(
            400,
            error_json(
                None,
                "The prompt is too long: 140000, model maximum context length: 131071",
                object="error",
                type="invalid_request_error",
            ),
        ),
    ),
    too_long(
        "groq",
        error(
            400,
            error_json(
                "context_length_exceeded",
                "Please reduce the length of the messages or completion.",
                type="invalid_request_error",
                param="messages",
            ),
        ),
    ),
    too_long(
        "deepseek",
        error(
            400,
            error_json(
                "invalid_request_error",
                "This model's maximum context length is 65536 tokens. However, you requested 69648 tokens.",
                type="invalid_request_error",
                param=None,
            ),
        ),
    ),
    too_long(
        "omlx",
        error(
            400, error_json(None, "Prompt too long: 41911 tokens exceeds max context window of 32768 tokens")
        ),
    ),  # ClawX issue 658
    too_long("first event, code as text", in_200(error_json("context_length_exceeded", OPENAI_LONG))),
    too_long(
        "first event, message only",
        in_200(error_json(400, "prompt is too long: 1284668 tokens > 1000000 maximum")),
    ),
    Row(
        name="too long for all",
        script=all_models(
            error(
                400,
                {
                    "error": {
                        "type": "invalid_request_error",
                        "message": "prompt is too long: 202788 tokens > 200000 maximum",
                    }
                },
            )
        ),
        code="context_length_exceeded",
        calls={"first": 1, "long": 1},
        message_has=("prompt is too long",),
    ),
)


TPM = (
    "Request too large for model `m` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): "
    "Limit 30000, Requested 61337, please reduce your message size and try again."
)


SIZE = (
    too_large("openai 429", error(429, error_json("rate_limit_exceeded", TPM, type="tokens"))),
    too_large(
        "openai 429 with a wait",
        error(
            429,
            error_json("rate_limit_exceeded", TPM, type="tokens"),
            "retry-after: 20",
            "x-ratelimit-reset-tokens: 20s",
        ),
    ),
    too_large("groq 413", error(413, error_json("rate_limit_exceeded", TPM, type="tokens"))),
    too_large("nginx 413", error(413, "<html><body><h1>413 Request Entity Too Large</h1></body></html>")),
    too_large(
        "anthropic 413",
        error(
            413,
            {
                "type": "error",
                "error": {
                    "type": "request_too_large",
                    "message": "Request exceeds the maximum allowed number of bytes.",
                },
            },
        ),
    ),
    Row(
        name="a model with a larger limit",
        script={"first": [error(429, error_json("rate_limit_exceeded", TPM))]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
    ),
)
