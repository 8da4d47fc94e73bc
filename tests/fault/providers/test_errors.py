"""D2, A6, A9: one meaning for every shape in which a provider says what is wrong.

Bodies as public issues and documentation show them, with figures of our own; looked up in November 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.events import CredentialAvailabilityChanged
from tests.fault.providers.table import WHOLE, Both, Outcome, Row, Script, Table, check, params, ran
from tests.fault.providers.wire import Answer, completion, data, delta, error, sized, stream

SIT_OUT_S = 0.6
HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


def in_200(body: object, *, event: object = None) -> Both:
    """As the first event of a stream, and as the whole body."""
    first = data(body if event is None else event)
    return Both(stream(first, done=False), sized(json.dumps(body).encode()))


def too_long(name: str, answer: Answer | Both) -> Row:
    """Not the second model, which reads no more, but the longer one answers."""
    return Row(
        name=f"too long, {name}",
        script={"first": [answer]},
        text="from long",
        model="long",
        calls={"first": 1, "long": 1},
    )


def elsewhere(name: str, answer: Answer | Both, **more: Any) -> Row:
    """A refusal that concerns this model and request: the next model of the chain answers."""
    return Row(
        name=f"refused, {name}",
        script={"first": [answer]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        **more,
    )


def bad_key(name: str, answer: Answer | Both) -> Row:
    """One credential is refused: another answers at once, and is used from then on."""
    return Row(
        name=f"key, {name}",
        script={"first": [answer]},
        bad_keys=1,
        text="from first",
        calls={"first": 2},
        took_s=(0.0, 1.5),
        quiet=False,
        rest_s=SIT_OUT_S + 0.1,
    )


def filtered(name: str, answer: Answer | Both) -> Row:
    return Row(name=f"filtered, {name}", script={"first": [answer]}, code="content_filtered")


def too_large(name: str, answer: Answer) -> Row:
    """Larger than the limit of any minute: no wait helps, and no other request is held up."""
    return Row(
        name=f"too large, {name}",
        script={"first": [answer], "second": [answer], "long": [answer]},
        code="request_too_large",
        calls={"first": 1, "second": (0, 1), "long": (0, 1)},
    )


def again(name: str, answer: Answer | Both) -> Row:
    """What a model wrote at random could not be used: the same model once more."""
    return Row(name=name, script={"first": [answer, HELLO]}, calls={"first": 2})


def spoken(code: object, message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, "code": code, **more}}


OPENAI_LONG = (
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens."
)
GEMINI_LONG = "The input token count (218152) exceeds the maximum number of tokens allowed (131072)."

CONTEXT = (
    too_long("openai", error(400, spoken("context_length_exceeded", OPENAI_LONG, type="invalid_request_error",
                                         param="messages"))),
    too_long("openai, input tokens", error(400, spoken("context_length_exceeded", "Input tokens exceed the configured "
             "limit of 272000 tokens. Your messages resulted in 300114 tokens.", type="invalid_request_error"))),
    too_long("azure", error(400, {"error": {"code": "context_length_exceeded", "message": OPENAI_LONG, "type":
                                            "invalid_request_error", "param": "messages", "innererror": None}})),
    too_long("gemini, a list", error(400, [{"error": {"code": 400, "message": GEMINI_LONG, "status":
                                                      "INVALID_ARGUMENT"}}])),  # gemini-cli issue 12214
    too_long("gemini, JSON in the message", error(400, spoken(400, json.dumps({"error": {"code": 400, "message":
             GEMINI_LONG, "status": "INVALID_ARGUMENT"}}), status="Bad Request"))),  # gemini-cli issue 4231
    too_long("vllm, top level", error(400, {"object": "error", "message": "This model's maximum context length is 4096 "
             "tokens. However, you requested 4600 tokens (4500 in the messages, 100 in the completion).",
             "type": "BadRequestError", "param": None, "code": 400})),  # vllm issue 4667
    too_long("vllm, the newer words", error(400, spoken(400, "You passed 4097 input tokens and requested 512 output "
             "tokens. However, the model's context length is only 4096 tokens.", type="BadRequestError"))),
    too_long("sglang", error(400, {"object": "error", "message": "The input (9102 tokens) is longer than the model's "
             "context length (8192 tokens).", "type": "BadRequestError", "code": 400})),
    too_long("sglang, in a 200", in_200({"error": {"object": "error", "message": "Input length (9102 tokens) exceeds the "
             "maximum allowed length (8186 tokens).", "type": "BadRequestError", "code": 400}})),  # sglang PR 20027
    too_long("llama.cpp", error(400, spoken(400, "the request exceeds the available context size. try increasing the "
             "context size or enable context shift", type="exceed_context_size_error", n_prompt_tokens=14429,
             n_ctx=8192))),  # llama.cpp PR 15780
    too_long("llama.cpp, a 500", error(500, spoken(500, "the request exceeds the available context size, try increasing "
             "it", type="exceed_context_size_error", n_prompt_tokens=1407, n_ctx=256))),
    too_long("mlx, a 500", error(500, spoken(500, "Context size has been exceeded.", type="server_error"))),
    too_long("llama-cpp-python", error(500, spoken(None, "Requested tokens (2285) exceed context window of 2048",
                                                   type="internal_server_error"))),
    too_long("lm studio, text", error(400, {"error": "Trying to keep the first 6547 tokens when context the overflows. "
             "However, the model is loaded with context length of only 4096 tokens, which is not enough."})),
    too_long("lm studio, n_keep", error(400, {"error": "The number of tokens to keep from the initial prompt is greater "
             "than the context length (n_keep: 13055>= n_ctx: 4096)."})),  # openclaude issue 353
    too_long("lm studio, in a 200", Both(stream(b'event: error\ndata: {"error":{"message":"Trying to keep the first 6547 '
             b'tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens"}}'
             b"\n\n", done=False), sized(b'{"error":"Trying to keep the first 6547 tokens when context the overflows. '
             b'However, the model is loaded with context length of only 4096 tokens"}'))),  # lmstudio issue 2322
    too_long("anthropic", error(400, {"type": "error", "error": {"type": "invalid_request_error", "message":
             "prompt is too long: 202788 tokens > 200000 maximum"}})),
    too_long("anthropic, with the output", error(400, {"error": {"type": "invalid_request_error", "code": None, "message":
             "input length and `max_tokens` exceed context limit: 90402 + 116650 > 204648, decrease input length or "
             "`max_tokens` and try again"}})),  # bolt.new issue 7414
    too_long("mistral", error(400, {"object": "error", "message": "Prompt contains 42000 tokens and 0 draft tokens, too "
             "large for model with 32768 maximum context length", "type": "invalid_request_prompt", "param": None,
             "code": "3051"})),
    too_long("bedrock", error(400, {"message": "Input is too long for requested model."})),
    too_long("bedrock through a gateway", error(400, spoken(None, "ValidationException: The model returned the following "
             "errors: Input is too long for requested model.", type=None))),
    too_long("xai", error(400, {"code": "Client specified an invalid argument", "error": "This model's maximum prompt "
             "length is 131072 but the request contains 136973 tokens."})),  # cline issue 3120
    too_long("openrouter, the provider's own words", error(400, spoken(400, "Provider returned error", metadata={
             "provider_name": "Nvidia", "raw": json.dumps({"error": {"message": OPENAI_LONG, "type": "Bad Request",
                                                                     "code": 400}})}))),  # cline issue 13194
    too_long("openrouter, the endpoint", error(400, spoken(400, "This endpoint's maximum context length is 32768 tokens. "
             "However, you requested about 42832 tokens (42832 of text input)."))),  # refly issue 1177
    too_long("together", error(422, spoken(None, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= "
             "8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`", type="invalid_request_error"))),
    too_long("fireworks", error(400, spoken(None, "The prompt is too long: 140000, model maximum context length: 131071",
                                            object="error", type="invalid_request_error"))),
    too_long("groq", error(400, spoken("context_length_exceeded", "Please reduce the length of the messages or "
             "completion.", type="invalid_request_error", param="messages"))),
    too_long("deepseek", error(400, spoken("invalid_request_error", "This model's maximum context length is 65536 tokens. "
             "However, you requested 69648 tokens.", type="invalid_request_error", param=None))),
    too_long("omlx", error(400, spoken(None, "Prompt too long: 41911 tokens exceeds max context window of 32768 "
                                       "tokens"))),  # ClawX issue 658
    too_long("first event, code as text", in_200(spoken("context_length_exceeded", OPENAI_LONG))),
    too_long("first event, only words", in_200(spoken(400, "prompt is too long: 1284668 tokens > 1000000 maximum"))),
    Row(name="too long for all", script=dict.fromkeys(("first", "second", "long"), [error(400, {"error": {"type":
        "invalid_request_error", "message": "prompt is too long: 202788 tokens > 200000 maximum"}})]),
        code="context_length_exceeded", calls={"first": 1, "long": 1}, says=("prompt is too long",)),
)  # fmt: skip

QUOTA = "You exceeded your current quota, please check your plan and billing details."
MONEY = (
    bad_key("openai insufficient_quota", error(429, spoken("insufficient_quota", QUOTA, type="insufficient_quota"))),
    bad_key("openai hard limit", error(400, spoken("billing_hard_limit_reached", "Billing hard limit has been reached",
                                                   type="invalid_request_error"))),
    bad_key("anthropic credit", error(400, {"type": "error", "error": {"type": "invalid_request_error", "message":
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."}})),
    bad_key("deepseek 402", error(402, spoken("invalid_request_error", "Insufficient Balance", type="unknown_error"))),
    bad_key("openrouter 402", error(402, spoken(402, "This request requires more credits, or fewer max_tokens. You "
            "requested up to 16384 tokens, but can only afford 3919.", metadata={"provider_name": None}))),
    bad_key("openrouter key limit", error(403, spoken(403, "Key limit exceeded (monthly limit)."))),
    bad_key("openrouter 402 in a 200", in_200(spoken(402, "Insufficient credits. Add more."),
            event={"id": "gen-1", "choices": [], "error": {"code": 402, "message": "Insufficient credits. Add more."}})),
    bad_key("xai spent", error(429, {"code": "Some resource has been exhausted", "error": "Your team has either used all "
            "available credits or reached its monthly spending limit."})),
    bad_key("fireworks suspended", error(412, {"error": {"message": "Account x is suspended, possibly due to reaching the "
            "monthly spending limit or failure to pay past invoices", "code": "PRECONDITION_FAILED"}})),
    bad_key("together credit", error(402, {"error": {"message": "Credit limit exceeded, please navigate to billing to add "
            "credit", "type": "credit_limit", "param": None, "code": None}})),
    bad_key("a text 402", error(402, "Payment Required")),
)  # fmt: skip

KEYS = (
    bad_key("openai 401", error(401, spoken("invalid_api_key", "Incorrect API key provided: sk-x", type="invalid_request_error"))),
    bad_key("xai key as 400", error(400, {"code": "Client specified an invalid argument", "error": "Incorrect API key "
            "provided: na***ys. You can obtain an API key from https://console.x.ai."})),  # aider-desk issue 653
    bad_key("gemini key as 400", error(400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API "
            "key.", "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}}])),
    bad_key("gemini key expired", error(400, {"error": {"code": 400, "message": "API key expired. Please renew the API key.",
                                                        "status": "INVALID_ARGUMENT"}})),
    bad_key("mistral 401", error(401, {"detail": "Unauthorized"})),
    bad_key("azure 401", error(401, spoken("401", "Access denied due to invalid subscription key or wrong API endpoint."))),
    bad_key("anthropic 401", error(401, {"type": "error", "error": {"type": "authentication_error", "message":
                                                                    "invalid x-api-key"}})),
    bad_key("a key in a 200", in_200(spoken(401, "User not found."))),
    bad_key("fireworks 403", error(403, spoken(None, "The API key you provided is invalid.", type="invalid_request_error"))),
    Row(name="no key is accepted", script={"first": [error(401, spoken("invalid_api_key", "Incorrect API key"))]},
        text="from second", model="second", calls={"first": 2, "second": 1}, quiet=False, neighbour=None,
        rest_s=SIT_OUT_S + 0.1, took_s=(0.0, 1.5)),
    Row(name="all money is spent", script=dict.fromkeys(("first", "second", "long"),
        [error(402, spoken("invalid_request_error", "Insufficient Balance"))]), code="provider_credentials",
        says=("Insufficient Balance",), calls={"first": 2, "second": (1, 2), "long": (0, 2)}, quiet=False,
        neighbour=None, rest_s=SIT_OUT_S + 0.1, took_s=(0.0, 2.0)),
)  # fmt: skip

CONTENT = (
    filtered("azure", error(400, {"error": {"message": "The response was filtered due to the prompt triggering Azure "
             "OpenAI's content management policy.", "type": None, "param": "prompt", "code": "content_filter", "status": 400,
             "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}}}})),
    filtered("openai policy", error(400, spoken("content_policy_violation", "Your request was rejected as a result of our "
                                                "safety system.", type="invalid_request_error"))),
    # OpenRouter, moderation errors: 403 with the reasons in metadata.
    filtered("openrouter moderation 403", error(403, spoken(403, "Your chosen model requires moderation and your input was "
             "flagged", metadata={"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"}))),
    filtered("xai safety 403", error(403, {"code": "The caller does not have permission to execute the specified operation",
             "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO"})),
    filtered("openai usage policy", error(400, spoken("invalid_prompt", "Invalid prompt: your prompt was flagged as "
             "potentially violating our usage policy. Please try again with a different prompt.",
             type="invalid_request_error"))),
    filtered("in a 200", in_200(spoken("content_filter", "The prompt was filtered."))),
)  # fmt: skip

TPM = ("Request too large for model `m` in organization `org_1` service tier `on_demand` on tokens per minute (TPM): "
       "Limit 30000, Requested 61337, please reduce your message size and try again.")  # fmt: skip
SIZE = (
    too_large("openai 429", error(429, spoken("rate_limit_exceeded", TPM, type="tokens"))),
    too_large("openai 429 that says when", error(429, spoken("rate_limit_exceeded", TPM, type="tokens"),
                                                 "retry-after: 20", "x-ratelimit-reset-tokens: 20s")),
    too_large("groq 413", error(413, spoken("rate_limit_exceeded", TPM, type="tokens"))),
    too_large("nginx 413", error(413, "<html><body><h1>413 Request Entity Too Large</h1></body></html>")),
    too_large("anthropic 413", error(413, {"type": "error", "error": {"type": "request_too_large", "message":
                                           "Request exceeds the maximum allowed number of bytes."}})),
    Row(name="a model with a larger limit", script={"first": [error(429, spoken("rate_limit_exceeded", TPM))]},
        text="from second", model="second", calls={"first": 1, "second": 1}),
)  # fmt: skip

REFUSED = (
    elsewhere("openrouter no endpoints", error(404, spoken(404, "No endpoints found that support tool use. To learn more "
              "about provider routing, visit: https://openrouter.ai/docs/provider-routing"))),
    elsewhere("openrouter data policy", error(404, spoken(404, "No endpoints found matching your data policy."))),
    elsewhere("a 404 of HTML", error(404, "<html><head><title>404 Not Found</title></head></html>")),
    elsewhere("an empty 404", error(404, "")),
    elsewhere("not verified", error(400, spoken("unsupported_value", "Your organization must be verified to stream this "
              "model. Please go to: https://platform.openai.com/settings/organization/general and click on Verify "
              "Organization.", type="invalid_request_error", param="stream"))),
    elsewhere("a tool's schema", error(400, spoken("invalid_function_parameters", "Invalid schema for function 'f': schema "
              "must be a JSON Schema of 'type: \"object\"'", type="invalid_request_error", param="tools[0].function."
              "parameters"))),
    elsewhere("mistral 422 of the roles", error(422, {"object": "error", "message": {"detail": [{"type": "value_error",
              "loc": ["body", "messages", 0], "msg": "Value error, unexpected role", "input": "x"}]}, "type":
              "invalid_request_error", "param": None, "code": None})),
    elsewhere("mistral order of roles", error(400, {"object": "error", "message": "Expected last role User or Tool (or "
              "Assistant with prefix True) for serving but got assistant", "type": "invalid_request_message_order",
              "code": "3230"})),
    elsewhere("images", error(400, spoken(400, "At most 0 image(s) may be provided in one prompt.", type="BadRequestError"))),
    elsewhere("ollama no tools", error(400, spoken(None, "registry.ollama.ai/library/gemma3:4b does not support tools",
                                                   type="api_error"))),
    elsewhere("gemini precondition", error(400, [{"error": {"code": 400, "message": "User location is not supported for the "
              "API use.", "status": "FAILED_PRECONDITION"}}])),
    elsewhere("an empty 400", error(400, "")),
    elsewhere("422 detail as text", error(422, {"detail": "Unprocessable"})),
    elsewhere("499", error(499, spoken(499, "The operation was cancelled.", status="CANCELLED"))),
    elsewhere("405", error(405, {"detail": "Method Not Allowed"})),
    elsewhere("a list of errors", error(400, {"errors": [{"message": "Bad thing", "code": 7}]})),
    elsewhere("cloudflare", error(403, '<!DOCTYPE html><title>Attention Required! | Cloudflare</title>')),
    elsewhere("400 in a 200", in_200(spoken(400, "tools are not supported here"))),
)  # fmt: skip

AT_RANDOM = (
    again("groq tool_use_failed", error(400, spoken("tool_use_failed", "Failed to call a function. Please adjust your prompt. "
          "See 'failed_generation' for more details.", type="invalid_request_error", failed_generation="<function=f{}"))),
    again("groq json_validate_failed", error(400, spoken("json_validate_failed", "Failed to generate JSON. Please adjust your "
          "prompt.", type="invalid_request_error", failed_generation="{\n  \"a\": "))),
    again("groq in the stream", in_200(spoken("tool_use_failed", "Failed to call a function.", type="invalid_request_error",
                                              status_code=400))),
    Row(name="tool_use_failed twice", script={"first": [error(400, spoken("tool_use_failed", "Failed to call a function."))]},
        text="from second", model="second", calls={"first": 2, "second": 1}),
)  # fmt: skip


def each(*messages: str) -> dict[str, Script]:
    return {
        model: [error(400, spoken("invalid_value", message, type="invalid_request_error"))]
        for model, message in zip(("first", "second", "long"), messages, strict=True)
    }


REPORTED = (
    Row(name="the chain ends", script=each("tools: too many", "tools: not here", "tools: never heard of"),
        code="provider_refused", calls={"first": 1, "second": 1, "long": 1}, provider_code="invalid_value",
        says=("tools: too many", "tools: not here", "tools: never heard of")),
    Row(name="a type where there is no code", script=dict.fromkeys(("first", "second", "long"), [error(400, {"type": "error",
        "error": {"type": "invalid_request_error", "message": "messages: roles must alternate"}})]),
        code="provider_refused", calls={"first": 1, "second": 1, "long": 1}, provider_code="invalid_request_error",
        says=("roles must alternate",)),
    Row(name="top-level message", script=dict.fromkeys(("first", "second", "long"), [error(400, {"object": "error",
        "message": "the template broke", "type": "BadRequestError", "param": None, "code": 400})]),
        code="provider_refused", calls={"first": 1, "second": 1, "long": 1}, says=("the template broke",)),
    Row(name="details", script=dict.fromkeys(("first", "second", "long"), [error(422, {"detail": [{"type": "missing",
        "loc": ["body", "messages", 0, "content"], "msg": "Field required"}]})]),
        code="provider_refused", calls={"first": 1, "second": 1, "long": 1}, says=("Field required",)),
    Row(name="a message of 200 KB", modes=WHOLE, script=dict.fromkeys(("first", "second", "long"), [error(400, spoken(
        "invalid_value", "too much: " + "x" * 200_000))]), code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1}, says=("too much: xxx",)),
    Row(name="plain text", script=dict.fromkeys(("first", "second", "long"), [error(400, "Invalid JSON: expected `,`")]),
        code="provider_refused", calls={"first": 1, "second": 1, "long": 1}, says=("expected `,`",)),
)  # fmt: skip

ROWS = (*CONTEXT, *CONTENT, *SIZE, *REFUSED, *AT_RANDOM, *REPORTED)
KEYED_ROWS = (*MONEY, *KEYS)
TABLE = Table(rows=ROWS, keys=2, sections={"breaker": {"failures": 2}})
KEYED = Table(rows=KEYED_ROWS, keys=2, sections={"sit_out_s": SIT_OUT_S})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("errors")) as done:
        yield done


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(KEYED, tmp_path_factory.mktemp("keys")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d11_an_error_means_the_same_in_every_shape(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


@pytest.mark.parametrize("name", params(KEYED))
def test_a6_a_key_without_money_or_rights_is_set_aside(keyed: dict[str, Outcome], name: str) -> None:
    outcome = keyed[name]
    check(outcome)
    assert {type(event) for event in outcome.events} <= {CredentialAvailabilityChanged}


def test_a6_credentials_that_are_set_aside_are_told_of(keyed: dict[str, Outcome]) -> None:
    told = {event.model for outcome in keyed.values() for event in outcome.events if not event.usable}

    assert told >= {f"{outcome.lane}-first" for outcome in keyed.values()}
