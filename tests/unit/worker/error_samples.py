# ruff: noqa: E501 - messages as they came
"""Errors as providers send them, with the kind each stands for, and where it was seen (issues and documentation read in
November 2026). Names of organisations, keys and prompts are made up; what matters is the shape and the wording.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["SAMPLES", "Sample"]


class Sample(NamedTuple):
    source: str
    status: int
    body: Any
    kind: str
    parameter: str | None = None


def _openai(message: str, type_: str = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": None, **more}}


def _google(code: int, message: str, status: str, *details: Any) -> list[dict[str, Any]]:
    error = {"code": code, "message": message, "status": status}
    return [{"error": {**error, "details": list(details)} if details else error}]


def _anthropic(type_: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}


def _flat(message: Any, type_: str, code: Any = 400) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": type_, "param": None, "code": code}


def _routed(code: int, raw: Any, provider: str = "Nvidia") -> dict[str, Any]:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return {
        "error": {
            "message": "Provider returned error",
            "code": code,
            "metadata": {"raw": text, "provider_name": provider},
        }
    }


_TPM = "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 61337."
_LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 10240 tokens."
_FUNCTION = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."

_LENGTH = [
    Sample(
        "openai docs, error codes",
        400,
        _openai(_LONG, param="messages", code="context_length_exceeded"),
        "context_length",
    ),
    Sample(
        "litellm tests: test_exception_mapping_utils",
        400,
        _openai(
            "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 509178 tokens."
        ),
        "context_length",
    ),
    Sample(
        "azure, chathub issue 126",
        400,
        {"error": {"message": _LONG, "code": "context_length_exceeded"}},
        "context_length",
    ),
    Sample(
        "google-gemini/gemini-cli issue 6678",
        400,
        _google(
            400,
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
            "INVALID_ARGUMENT",
        ),
        "context_length",
    ),
    Sample(
        "google-gemini/gemini-cli issue 4231: JSON written out in the message",
        400,
        {
            "error": {
                "message": json.dumps(
                    {
                        "error": {
                            "code": 400,
                            "message": "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).",
                        }
                    },
                    indent=2,
                ),
                "code": 400,
                "status": "Bad Request",
            }
        },
        "context_length",
    ),
    Sample(
        "QwenLM/Qwen3 issue 1321 (SGLang)",
        400,
        _flat(
            "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            "BadRequestError",
        ),
        "context_length",
    ),
    Sample(
        "Gabesarch/grounded-rl issue 16 (vLLM)",
        400,
        _flat(
            "The decoder prompt (length 10127) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller.",
            "BadRequestError",
        ),
        "context_length",
    ),
    Sample(
        "vllm-project/vllm issue 20409",
        400,
        _flat(
            "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
            "BadRequestError",
        ),
        "context_length",
    ),
    Sample(
        "ggml-org/llama.cpp pull 15780",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the context size or enable context shift",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 1407,
                "n_ctx": 256,
            }
        },
        "context_length",
    ),
    Sample(
        "ggml-org/llama.cpp pull 15780, as 500",
        500,
        {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
            }
        },
        "context_length",
    ),
    Sample(
        "llama.cpp server, context full",
        500,
        {"error": {"code": 500, "message": "Context size has been exceeded.", "type": "server_error"}},
        "context_length",
    ),
    Sample(
        "abetlen/llama-cpp-python issue 462",
        500,
        {
            "error": {
                "message": "Requested tokens (85000) exceed context window of 2048",
                "type": "internal_server_error",
                "code": None,
            }
        },
        "context_length",
    ),
    Sample(
        "anthropic docs, errors",
        400,
        _anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
        "context_length",
    ),
    Sample(
        "continuedev/continue issue 6136 (Anthropic)",
        400,
        _anthropic(
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 198214 + 8192 > 200000, decrease input length or `max_tokens` and try again",
        ),
        "context_length",
    ),
    Sample(
        "mistral",
        400,
        _flat(
            "Prompt contains 40960 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
            "invalid_request_prompt",
            "3051",
        ),
        "context_length",
    ),
    Sample(
        "aws-samples/bedrock-chat issue 95",
        400,
        {"message": "Input is too long for requested model.", "__type": "ValidationException"},
        "context_length",
    ),
    Sample(
        "bedrock, with the type of its framework",
        400,
        {
            "Message": "The model returned the following errors: Input is too long for requested model.",
            "__type": "com.amazon.coral.service#ValidationException",
        },
        "context_length",
    ),
    Sample(
        "langchain, bedrock: Amazon-Bedrock-Amazon-RDS-POC issue 9",
        400,
        {
            "message": "Malformed input request: expected maxLength: 42000, actual: 46735, please reformat your input and try again."
        },
        "context_length",
    ),
    Sample(
        "xai",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        },
        "context_length",
    ),
    Sample(
        "huggingface/llm-vscode issue 94, together",
        422,
        {
            "error": {
                "message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3474 `inputs` tokens and 60 `max_new_tokens`",
                "type": "invalid_request_error",
            }
        },
        "context_length",
    ),
    Sample(
        "fireworks",
        400,
        {
            "error": {
                "object": "error",
                "type": "invalid_request_error",
                "message": "The prompt is too long: 300000, model maximum context length: 131072",
            }
        },
        "context_length",
    ),
    Sample(
        "lmstudio-bug-tracker issue 546",
        400,
        {
            "error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context length of only 32768 tokens, which is not enough."
        },
        "context_length",
    ),
    Sample(
        "cohere",
        400,
        {
            "message": "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs."
        },
        "context_length",
    ),
    Sample(
        "cline/cline issue 13194 (OpenRouter)",
        400,
        _routed(400, {"error": {"message": _LONG, "type": "Bad Request", "code": 400}}),
        "context_length",
    ),
    Sample(
        "deepseek",
        400,
        _openai(
            "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens.",
            code="invalid_request_error",
        ),
        "context_length",
    ),
    Sample(
        "ddalcu/mlx-serve issue 66",
        400,
        {"error": {"message": "Prompt exceeds maximum context length"}},
        "context_length",
    ),
    Sample(
        "moonshot",
        400,
        {
            "error": {
                "message": "Invalid request: Your request exceeded model token limit: 8192",
                "type": "invalid_request_error",
            }
        },
        "context_length",
    ),
    Sample(
        "litellm proxy around OpenAI",
        400,
        {
            "error": {
                "message": "litellm.BadRequestError: OpenAIException - Error code: 400 - {'error': {'message': \"too long\", 'type': 'invalid_request_error', 'code': 'context_length_exceeded'}}",
                "type": None,
                "param": None,
                "code": "400",
            }
        },
        "context_length",
    ),
    Sample(
        "openai: too long a name of a user is no long conversation",
        400,
        _openai(
            "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with length 80 instead.",
            param="user",
            code="string_above_max_length",
        ),
        "refused",
    ),
    Sample(
        "openai: too long a text",
        400,
        _openai(
            "Invalid 'messages[0].content': string too long.",
            param="messages[0].content",
            code="string_above_max_length",
        ),
        "context_length",
    ),
    Sample(
        "a proxy in Go: the context of a call is no context",
        500,
        {"error": "context deadline exceeded"},
        "server_error",
    ),
]
_LIMITS = [
    Sample(
        "continuedev/continue issue 10602",
        429,
        _openai(_TPM, "tokens", code="rate_limit_exceeded"),
        "too_large",
    ),
    Sample(
        "BuilderIO/micro-agent issue 86",
        429,
        _openai(
            "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms.",
            "tokens",
            code="rate_limit_exceeded",
        ),
        "rate_limited",
    ),
    Sample(
        "continuedev/continue issue 11717",
        429,
        _openai(
            "Request too large for gpt-4.1-2025-04-14 (for limit gpt-4.1) in organization org-x on tokens per min (TPM): Limit 30000, Requested 37313.",
            "tokens",
            code="rate_limit_exceeded",
        ),
        "too_large",
    ),
    Sample(
        "groq, more than a minute's limit",
        413,
        _openai(
            "Request too large for model `llama-3.1-8b-instant` in organization `org_x` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 7001, please reduce your message size and try again.",
            "tokens",
            code="rate_limit_exceeded",
        ),
        "too_large",
    ),
    Sample(
        "groq, per day",
        429,
        _openai(
            "Rate limit reached for model `x` in organization `org_x` on tokens per day (TPD): Limit 100000, Used 99561, Requested 1004. Please try again in 8m8.2s.",
            "tokens",
            code="rate_limit_exceeded",
        ),
        "rate_limited",
    ),
    Sample(
        "groq, a request that alone is more than its limit",
        429,
        _openai(
            "Rate limit reached for model `x` on tokens per minute (TPM): Limit 6,000, Used 0, Requested 9,120.",
            "tokens",
            code="rate_limit_exceeded",
        ),
        "too_large",
    ),
    Sample(
        "github models",
        413,
        {
            "error": {
                "code": "tokens_limit_reached",
                "message": "Request body too large for gpt-4o model. Max size: 8000 tokens.",
                "details": "Request body too large",
            }
        },
        "too_large",
    ),
    Sample(
        "anthropic docs, errors",
        413,
        _anthropic("request_too_large", "Request exceeds the maximum allowed number of bytes."),
        "too_large",
    ),
    Sample(
        "nginx", 413, "<html><head><title>413 Request Entity Too Large</title></head></html>", "too_large"
    ),
    Sample(
        "anthropic",
        429,
        _anthropic(
            "rate_limit_error",
            "This request would exceed the rate limit for your organization of 50,000 input tokens per minute.",
        ),
        "rate_limited",
    ),
    Sample(
        "azure, vanderschaarlab/climb issue 1",
        429,
        {
            "error": {
                "code": "429",
                "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 86400 seconds.",
            }
        },
        "rate_limited",
    ),
    Sample(
        "google-gemini/gemini-cli issue 14831",
        429,
        _google(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"),
        "rate_limited",
    ),
    Sample(
        "gemini: a limit per minute, in the words of a spent quota",
        429,
        _google(
            429,
            "You exceeded your current quota, please check your plan and billing details. Please retry in 14.2s.",
            "RESOURCE_EXHAUSTED",
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "14s"},
        ),
        "rate_limited",
    ),
    Sample(
        "vertex, litellm notes: 429 within a 500",
        500,
        {
            "error": {
                "code": 429,
                "message": "Quota exceeded for aiplatform.googleapis.com",
                "status": "RESOURCE_EXHAUSTED",
            }
        },
        "rate_limited",
    ),
    Sample(
        "google, 403 of an older API",
        403,
        {
            "error": {
                "code": 403,
                "message": "Rate Limit Exceeded",
                "errors": [
                    {"domain": "usageLimits", "reason": "rateLimitExceeded", "message": "Rate Limit Exceeded"}
                ],
            }
        },
        "rate_limited",
    ),
    Sample(
        "open-webui/computer issue 293 (OpenRouter)",
        429,
        _routed(429, "z-ai/glm is temporarily rate-limited upstream. Please retry shortly.", "BaseTen"),
        "rate_limited",
    ),
    Sample(
        "openrouter, free models per day",
        429,
        {
            "error": {
                "message": "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
                "code": 429,
                "metadata": {"headers": {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}},
            }
        },
        "rate_limited",
    ),
    Sample(
        "bedrock",
        429,
        {"message": "Too many tokens, please wait before trying again.", "__type": "ThrottlingException"},
        "rate_limited",
    ),
    Sample(
        "mistral",
        429,
        {
            "object": "error",
            "message": "Service tier capacity exceeded for this model.",
            "type": "service_tier_capacity_exceeded",
            "code": "3505",
        },
        "rate_limited",
    ),
    Sample(
        "groq docs, flex",
        498,
        _openai("Flex tier capacity exceeded", code="capacity_exceeded"),
        "rate_limited",
    ),
    Sample("a proxy", 429, "error code: 1015", "rate_limited"),
]
_MONEY = [
    Sample(
        "openai docs, error codes",
        429,
        _openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
            code="insufficient_quota",
        ),
        "budget_spent",
    ),
    Sample(
        "openai: the same without a code",
        429,
        {"error": "You exceeded your current quota, please check your plan and billing details."},
        "budget_spent",
    ),
    Sample(
        "openai",
        400,
        _openai("Billing hard limit has been reached", code="billing_hard_limit_reached"),
        "budget_spent",
    ),
    Sample(
        "openai",
        429,
        _openai(
            "Your account is not active, please check your billing details on our website.",
            code="billing_not_active",
        ),
        "budget_spent",
    ),
    Sample(
        "anthropics/claude-code issue 66314",
        400,
        _anthropic(
            "invalid_request_error",
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        "budget_spent",
    ),
    Sample(
        "anthropic, workspace limit",
        400,
        _anthropic(
            "invalid_request_error",
            "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        ),
        "budget_spent",
    ),
    Sample(
        "Aider-AI/aider issue 4851 (DeepSeek)",
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "param": None,
                "code": "invalid_request_error",
            }
        },
        "budget_spent",
    ),
    Sample(
        "openrouter docs, errors",
        402,
        {
            "error": {
                "message": "Insufficient credits. Add more using https://openrouter.ai/credits",
                "code": 402,
            }
        },
        "budget_spent",
    ),
    Sample(
        "openrouter",
        402,
        {
            "error": {
                "message": "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 5332.",
                "code": 402,
            }
        },
        "budget_spent",
    ),
    Sample(
        "openrouter, limit of a key",
        403,
        {
            "error": {
                "message": "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys",
                "code": 403,
            }
        },
        "budget_spent",
    ),
    Sample(
        "continuedev/continue issue 10373 (xAI)",
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team 16f2 has either used all available credits or reached its monthly spending limit.",
        },
        "budget_spent",
    ),
    Sample(
        "Wei-Shaw/sub2api issue 4069 (xAI)",
        403,
        {"code": "permission-denied", "error": "You have run out of credits or need a Grok subscription."},
        "budget_spent",
    ),
    Sample(
        "together",
        402,
        {
            "error": {
                "message": "Credit limit exceeded, please navigate to your billing page.",
                "type": "credit_limit",
            }
        },
        "budget_spent",
    ),
    Sample(
        "hugging face",
        402,
        {"error": "You have exceeded your monthly included credits for Inference Providers."},
        "budget_spent",
    ),
    Sample(
        "litellm proxy",
        400,
        {
            "error": {
                "message": "Budget has been exceeded! Current cost: 10.2, Max budget: 10",
                "type": "budget_exceeded",
                "param": None,
                "code": "400",
            }
        },
        "budget_spent",
    ),
    Sample(
        "moonshot",
        429,
        {
            "error": {
                "message": "Your account is suspended, please check your plan and billing details",
                "type": "exceeded_current_quota_error",
            }
        },
        "budget_spent",
    ),
    Sample("a proxy", 402, "", "budget_spent"),
]
_KEYS = [
    Sample(
        "openai docs, error codes",
        401,
        _openai("Incorrect API key provided: sk-x***.", code="invalid_api_key"),
        "credentials",
    ),
    Sample(
        "gemini",
        400,
        _google(
            400,
            "API key not valid. Please pass a valid API key.",
            "INVALID_ARGUMENT",
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            },
        ),
        "credentials",
    ),
    Sample(
        "gemini, expired",
        400,
        _google(400, "API key expired. Please renew the API key.", "INVALID_ARGUMENT"),
        "credentials",
    ),
    Sample(
        "continuedev/continue issue 10778 (xAI)",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: na***ys. You can obtain an API key from https://console.x.ai.",
        },
        "credentials",
    ),
    Sample("anthropic", 401, _anthropic("authentication_error", "invalid x-api-key"), "credentials"),
    Sample(
        "anthropic",
        403,
        _anthropic(
            "permission_error", "Your API key does not have permission to use the specified resource."
        ),
        "credentials",
    ),
    Sample(
        "openrouter", 401, {"error": {"message": "No auth credentials found", "code": 401}}, "credentials"
    ),
    Sample(
        "gemini", 403, _google(403, "The caller does not have permission", "PERMISSION_DENIED"), "credentials"
    ),
    Sample(
        "bedrock",
        403,
        {
            "message": "You don't have access to the model with the specified model ID.",
            "__type": "AccessDeniedException",
        },
        "credentials",
    ),
    Sample(
        "groq",
        400,
        _openai(
            "Organization has been restricted. Please reach out to support if you believe this was in error.",
            code="organization_restricted",
        ),
        "credentials",
    ),
    Sample("openai", 403, _openai("Project `proj_x` does not have access to the endpoint"), "credentials"),
    Sample("mistral", 401, {"message": "Unauthorized", "request_id": "1"}, "credentials"),
    Sample("a mere 401", 401, "", "credentials"),
]
_CONTENT = [
    Sample(
        "azure docs, content filter",
        400,
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
                "innererror": {
                    "code": "ResponsibleAIPolicyViolation",
                    "content_filter_result": {"violence": {"filtered": True}},
                },
            }
        },
        "content_filter",
    ),
    Sample(
        "openrouter docs, moderation errors",
        403,
        {
            "error": {
                "message": "Your chosen model requires moderation and your input was flagged",
                "code": 403,
                "metadata": {
                    "reasons": ["violence"],
                    "flagged_input": "…",
                    "provider_name": "OpenAI",
                    "model_slug": "x",
                },
            }
        },
        "content_filter",
    ),
    Sample(
        "openrouter: the reasons alone",
        403,
        {"error": {"message": "Forbidden", "code": 403, "metadata": {"reasons": ["hate"]}}},
        "content_filter",
    ),
    Sample(
        "openai",
        400,
        _openai(
            "Your request was rejected as a result of our safety system.", code="content_policy_violation"
        ),
        "content_filter",
    ),
    Sample(
        "openai",
        400,
        _openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            code="invalid_prompt",
        ),
        "content_filter",
    ),
    Sample("gemini", 400, _google(400, "The request was blocked", "PROHIBITED_CONTENT"), "content_filter"),
    Sample(
        "gemini",
        400,
        _google(400, "Blocked because of SAFETY settings", "INVALID_ARGUMENT", {"reason": "SAFETY"}),
        "content_filter",
    ),
    Sample(
        "xai",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        "content_filter",
    ),
    Sample("deepseek", 400, _openai("Content Exists Risk", code="invalid_request_error"), "content_filter"),
    Sample(
        "dashscope",
        400,
        {
            "error": {
                "code": "data_inspection_failed",
                "message": "Input data may contain inappropriate content.",
                "type": "data_inspection_failed",
            }
        },
        "content_filter",
    ),
    Sample(
        "an account that is shut is no prompt",
        403,
        _openai("Your organization has been disabled for violating our usage policies."),
        "credentials",
    ),
]
_MODELS = [
    Sample(
        "openai",
        404,
        _openai("The model `gpt-5x` does not exist or you do not have access to it.", code="model_not_found"),
        "not_found",
    ),
    Sample(
        "groq docs, deprecations",
        400,
        _openai(
            "The model `x` has been decommissioned and is no longer supported.", code="model_decommissioned"
        ),
        "not_found",
    ),
    Sample(
        "azure",
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
        "not_found",
    ),
    Sample("vllm", 404, _flat("The model `x` does not exist.", "NotFoundError", 404), "not_found"),
    Sample("anthropic", 404, _anthropic("not_found_error", "model: claude-9"), "not_found"),
    Sample(
        "gemini",
        404,
        _google(
            404,
            "models/gemini-9 is not found for API version v1main, or is not supported for generateContent.",
            "NOT_FOUND",
        ),
        "not_found",
    ),
    Sample(
        "ollama", 404, _openai('model "llama9" not found, try pulling it first', "api_error"), "not_found"
    ),
    Sample(
        "openrouter", 400, {"error": {"message": "x/y is not a valid model ID", "code": 400}}, "not_found"
    ),
    Sample(
        "vyancharuk/nodejs-api-boilerplate issue 16 (OpenRouter)",
        404,
        {"error": {"message": "No endpoints found for nousresearch/hermes-3:free.", "code": 404}},
        "not_found",
    ),
    Sample(
        "mistral",
        400,
        {"object": "error", "message": "Invalid model: mistral-x", "type": "invalid_model", "code": "1500"},
        "not_found",
    ),
    Sample("deepseek", 400, _openai("Model Not Exist", code="invalid_request_error"), "not_found"),
    Sample(
        "fireworks",
        404,
        {"error": {"message": "Model not found, inaccessible, and/or not deployed"}},
        "not_found",
    ),
    Sample("bedrock", 400, {"message": "The provided model identifier is invalid."}, "not_found"),
    Sample(
        "dnakov/anon-kode issue 2 (OpenRouter)",
        404,
        {
            "error": {
                "message": "No endpoints found that support tool use. To learn more about provider routing, visit: https://openrouter.ai/docs/provider-routing",
                "code": 404,
            }
        },
        "refused",
    ),
    Sample(
        "zed-industries/zed issue 36094 (OpenRouter)",
        404,
        {
            "error": {
                "message": "No endpoints found that support the provided 'tool_choice' value.",
                "code": 404,
            }
        },
        "refused",
    ),
    Sample(
        "musistudio/claude-code-router issue 583",
        404,
        {
            "error": {
                "message": 'Error from provider(404): {"error":{"message":"No endpoints found that support tool use.","code":404}}Error: more',
                "type": "api_error",
                "code": "provider_response_error",
            }
        },
        "refused",
    ),
    Sample("fastapi", 404, {"detail": "Not Found"}, "unclear"),
    Sample("openai, wrong path", 404, _openai("Invalid URL (POST /v1/chat/completionss)"), "unclear"),
    Sample(
        "a proxy",
        404,
        "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>The model of this page</body></html>",
        "unclear",
    ),
    Sample("Go's default", 404, "404 page not found\n", "unclear"),
    Sample("a mere 404", 404, "", "unclear"),
    Sample("a mere 403", 403, "", "unclear"),
    Sample(
        "cloudflare",
        403,
        "<html><head><title>Access denied | example.com used Cloudflare to restrict access</title></head></html>",
        "unclear",
    ),
    Sample(
        "openai, country",
        403,
        _openai(
            "Country, region, or territory not supported",
            "request_forbidden",
            code="unsupported_country_region_territory",
        ),
        "unclear",
    ),
]
_REQUESTS = [
    Sample(
        "groq/groq-typescript issue 28",
        400,
        _openai(_FUNCTION, code="tool_use_failed", failed_generation="x"),
        "random_refusal",
    ),
    Sample(
        "HunorLaczko/ha-groq-cloud-api issue 20",
        400,
        _openai(
            "tool call validation failed: parameters for tool x did not match schema",
            param="",
            code="tool_use_failed",
        ),
        "random_refusal",
    ),
    Sample(
        "groq docs, JSON mode",
        400,
        _openai(
            "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
            code="json_validate_failed",
        ),
        "random_refusal",
    ),
    Sample(
        "openai, reasoning models",
        400,
        _openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        "parameter",
        "max_tokens",
    ),
    Sample(
        "openai, reasoning models",
        400,
        _openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
        "parameter",
        "temperature",
    ),
    Sample(
        "azure, older",
        400,
        _openai("Unrecognized request argument supplied: stream_options"),
        "parameter",
        "stream_options",
    ),
    Sample(
        "openai",
        400,
        _openai("Unknown parameter: 'enable_thinking'.", param="enable_thinking", code="unknown_parameter"),
        "parameter",
        "enable_thinking",
    ),
    Sample(
        "pydantic, FastAPI",
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "parallel_tool_calls"],
                    "msg": "Extra inputs are not permitted",
                    "input": True,
                }
            ]
        },
        "parameter",
        "parallel_tool_calls",
    ),
    Sample(
        "mistral",
        422,
        {
            "object": "error",
            "message": {
                "detail": [
                    {
                        "type": "extra_forbidden",
                        "loc": ["body", "logprobs"],
                        "msg": "Extra inputs are not permitted",
                        "input": True,
                    }
                ]
            },
            "type": "invalid_request_error",
            "code": None,
        },
        "parameter",
        "logprobs",
    ),
    Sample(
        "vllm, older",
        400,
        _flat(
            "[{'type': 'extra_forbidden', 'loc': ('body', 'reasoning_effort'), 'msg': 'Extra inputs are not permitted', 'input': 'low'}]",
            "BadRequestError",
        ),
        "parameter",
        "reasoning_effort",
    ),
    Sample(
        "anthropic",
        400,
        _anthropic("invalid_request_error", "frequency_penalty: Extra inputs are not permitted"),
        "parameter",
        "frequency_penalty",
    ),
    Sample(
        "a local server",
        400,
        {"error": {"message": "This model does not accept temperature."}},
        "parameter",
        "temperature",
    ),
    Sample(
        "a local server",
        400,
        {"error": {"message": "Unknown field: temperature"}},
        "parameter",
        "temperature",
    ),
    Sample(
        "a local server",
        400,
        {"error": {"message": "top_p not allowed here"}},
        "parameter",
        "top_p",
    ),
    Sample(
        "a local server",
        400,
        {"error": {"message": "this model has no knob called seed, kindly drop it"}},
        "parameter",
        "seed",
    ),
    Sample(
        "anthropic",
        400,
        _anthropic("invalid_request_error", "`temperature` is deprecated for this model."),
        "parameter",
        "temperature",
    ),
    Sample(
        "gemini",
        400,
        _google(
            400,
            'Invalid JSON payload received. Unknown name "frequency_penalty": Cannot find field.',
            "INVALID_ARGUMENT",
        ),
        "parameter",
        "frequency_penalty",
    ),
    Sample(
        "a server in Python",
        500,
        {
            "error": {
                "message": "generate() got an unexpected keyword argument 'logit_bias'",
                "type": "internal_server_error",
            }
        },
        "parameter",
        "logit_bias",
    ),
    Sample(
        "xai",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty",
        },
        "parameter",
        "presence_penalty",
    ),
    Sample(
        "xai",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Model grok-4 does not support parameter stop.",
        },
        "parameter",
        "stop",
    ),
    Sample("groq", 400, _openai("`logprobs` is not supported with this model"), "parameter", "logprobs"),
    Sample(
        "a server in Rust",
        422,
        {
            "error": {
                "message": "Failed to deserialize the JSON body into the target type: unknown field `seed`, expected one of `model`, `messages`"
            }
        },
        "parameter",
        "seed",
    ),
    Sample(
        "earendil-works/pi issue 1048 (DeepSeek)",
        400,
        _openai(
            "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"
        ),
        "parameter",
        "developer_role",
    ),
    Sample(
        "can1357/oh-my-pi issue 843",
        400,
        _openai(
            "developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.[6].role'"
        ),
        "parameter",
        "developer_role",
    ),
    Sample(
        "earendil-works/pi issue 6238",
        422,
        {
            "detail": [
                {
                    "type": "enum",
                    "loc": ["body", "messages", 0, "role"],
                    "msg": "Input should be 'system', 'user', 'assistant', 'function' or 'tool'",
                    "input": "developer",
                }
            ]
        },
        "parameter",
        "developer_role",
    ),
    Sample(
        "earendil-works/pi issue 5117 (OpenRouter)",
        400,
        _routed(
            400,
            {
                "error": {
                    "message": "developer is not one of ['system', 'assistant', 'user', 'tool', 'function']",
                    "type": "invalid_request_error",
                    "code": "invalid_parameter_error",
                }
            },
        ),
        "parameter",
        "developer_role",
    ),
    Sample(
        "peonist-ai/halogen-server issue 3",
        400,
        _openai("chat template rejected the request: Unexpected message role."),
        "parameter",
        "developer_role",
    ),
    Sample(
        "openai, o1-mini: the role of system",
        400,
        _openai(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            param="messages[0].role",
            code="unsupported_value",
        ),
        "refused",
    ),
    Sample(
        "openai: the format is what was asked for",
        400,
        _openai(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
            param="response_format",
        ),
        "refused",
    ),
    Sample(
        "openai",
        400,
        _openai(
            "Your organization must be verified to stream this model. Please go to the settings.",
            param="stream",
            code="unsupported_value",
        ),
        "refused",
    ),
    Sample(
        "openai",
        403,
        _openai("Your organization must be verified to use the model `o3`.", code="forbidden"),
        "refused",
    ),
    Sample(
        "ollama",
        400,
        _openai("registry.ollama.ai/library/gemma does not support tools", "api_error"),
        "refused",
    ),
    Sample(
        "pydantic, a value out of range",
        422,
        {
            "detail": [
                {
                    "type": "less_than_equal",
                    "loc": ["body", "temperature"],
                    "msg": "Input should be less than or equal to 2",
                    "input": 3,
                }
            ]
        },
        "refused",
    ),
    Sample("a mere 400", 400, "", "refused"),
    Sample("nginx", 499, "", "refused"),
    Sample("openai", 422, _openai("Unprocessable"), "refused"),
    Sample(
        "a prompt that is repeated says nothing of our account",
        400,
        _flat(
            "1 validation error for Request messages.0.content.1 Input should be a valid dictionary [type=dict_type, input_value='your API key not valid, insufficient balance', input_type=str]",
            "BadRequestError",
        ),
        "refused",
    ),
]
_MORE = [
    Sample(
        "fireworks",
        412,
        {
            "error": {
                "message": "Account x is suspended, possibly due to reaching the monthly spending limit",
                "code": "PRECONDITION_FAILED",
            }
        },
        "budget_spent",
    ),
    Sample(
        "gemini, prepaid",
        429,
        _google(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"),
        "budget_spent",
    ),
    Sample(
        "moonshot",
        404,
        _openai("Not found the model moonshot-x or Permission denied", "resource_not_found_error"),
        "not_found",
    ),
    Sample("azure", 404, {"error": {"code": "404", "message": "Resource not found"}}, "unclear"),
    Sample(
        "groq",
        404,
        _openai(
            "Unknown request URL: POST /openai/v1/x. Please check the URL for typos.", code="unknown_url"
        ),
        "unclear",
    ),
    Sample(
        "anthropic",
        400,
        _anthropic(
            "invalid_request_error",
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        ),
        "parameter",
        "top_p",
    ),
    Sample(
        "moonshot",
        400,
        _openai("invalid temperature: only 1 is allowed for this model"),
        "parameter",
        "temperature",
    ),
    Sample(
        "fireworks",
        400,
        _openai("Extra inputs are not permitted, field: 'logit_bias', value: {}"),
        "parameter",
        "logit_bias",
    ),
    Sample(
        "cerebras",
        400,
        {
            "message": "The following fields are not supported by this model: ['frequency_penalty']",
            "type": "invalid_request_error",
        },
        "parameter",
        "frequency_penalty",
    ),
    Sample(
        "without quotes",
        400,
        _openai("reasoning_effort is not supported for this model"),
        "parameter",
        "reasoning_effort",
    ),
    Sample(
        "groq, of a message",
        400,
        _openai(
            "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning' is unsupported)]"
        ),
        "refused",
    ),
    Sample(
        "groq, of a message",
        400,
        _openai("Additional properties are not allowed ('refusal' was unexpected) - 'messages.2'"),
        "refused",
    ),
    Sample(
        "anthropic",
        400,
        _anthropic("invalid_request_error", "Output blocked by content filtering policy"),
        "content_filter",
    ),
    Sample(
        "zhipu",
        400,
        {
            "contentFilter": [{"level": 1, "role": "user"}],
            "error": {"code": "1301", "message": "not allowed"},
        },
        "content_filter",
    ),
    Sample(
        "behind a router: a page",
        502,
        _routed(502, "<html><head><title>504 Gateway Time-out</title></head></html>"),
        "server_error",
    ),
    Sample(
        "a limit of tokens",
        429,
        {"error": "limit of 30,000 tokens per minute, requested about 61,337"},
        "too_large",
    ),
    Sample(
        "a limit of tokens",
        429,
        {"error": "tokens per minute: limit: 30,000, requested: 61,337"},
        "too_large",
    ),
]
_SERVERS = [
    Sample("anthropic docs, errors", 529, _anthropic("overloaded_error", "Overloaded"), "server_error"),
    Sample(
        "llama.cpp",
        503,
        {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}},
        "server_error",
    ),
    Sample(
        "gemini",
        503,
        _google(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
        "server_error",
    ),
    Sample("openrouter", 502, _routed(502, "upstream connect error"), "server_error"),
    Sample("a mere 500", 500, "", "server_error"),
    Sample("nginx", 502, "<html><head><title>502 Bad Gateway</title></head></html>", "server_error"),
    Sample("a proxy around a refusal", 500, {"error": {"message": "bad value", "code": 400}}, "refused"),
    Sample("openai", 408, _openai("Request timed out"), "too_slow"),
    Sample("openai", 409, _openai("Conflict"), "server_error"),
]

SAMPLES = (*_LENGTH, *_LIMITS, *_MONEY, *_KEYS, *_CONTENT, *_MODELS, *_REQUESTS, *_MORE, *_SERVERS)
