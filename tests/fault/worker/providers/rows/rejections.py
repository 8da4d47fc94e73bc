"""Errors for the content of a request, in all known formats.

The bodies are taken from public issues and documentation (November 2026), with changed figures.
"""

from __future__ import annotations

from typing import Any

from tests.fault.worker.providers.rows.table import WHOLE, Both, Row, Script, all_models, in_200
from tests.fault.worker.providers.rows.wire import Answer, completion, delta, error, error_json, stream

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


def next_model(name: str, answer: Answer | Both, **more: Any) -> Row:
    """An error for this request at this model: the next model of the chain answers."""
    return Row(
        name=f"rejected, {name}",
        script={"first": [answer]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        **more,
    )


def filtered(name: str, answer: Answer | Both) -> Row:
    return Row(name=f"filtered, {name}", script={"first": [answer]}, code="content_filtered")


def retried(name: str, answer: Answer | Both) -> Row:
    """The model's output was unusable by chance: the same model is called again."""
    return Row(name=name, script={"first": [answer, HELLO]}, calls={"first": 2})


CONTENT = (
    filtered(
        "azure",
        error(
            400,
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering Azure "
                    "OpenAI's content management policy.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {}},
                }
            },
        ),
    ),
    filtered(
        "openai policy",
        error(
            400,
            error_json(
                "content_policy_violation",
                "Your request was rejected as a result of our safety system.",
                type="invalid_request_error",
            ),
        ),
    ),
    # OpenRouter, moderation errors: 403 with the reasons in metadata.
    filtered(
        "openrouter moderation 403",
        error(
            403,
            error_json(
                403,
                "Your chosen model requires moderation and your input was flagged",
                metadata={"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"},
            ),
        ),
    ),
    filtered(
        "xai safety 403",
        error(
            403,
            {
                "code": "The caller does not have permission to execute the specified operation",
                "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
            },
        ),
    ),
    filtered(
        "openai usage policy",
        error(
            400,
            error_json(
                "invalid_prompt",
                "Invalid prompt: your prompt was flagged as "
                "potentially violating our usage policy. Please try again with a different prompt.",
                type="invalid_request_error",
            ),
        ),
    ),
    filtered("in a 200", in_200(error_json("content_filter", "The prompt was filtered."))),
)


REJECTED = (
    next_model(
        "openrouter no endpoints",
        error(
            404,
            error_json(
                404,
                "No endpoints found that support tool use. To learn more "
                "about provider routing, visit: https://openrouter.ai/docs/provider-routing",
            ),
        ),
    ),
    next_model(
        "openrouter data policy", error(404, error_json(404, "No endpoints found matching your data policy."))
    ),
    next_model("a 404 of HTML", error(404, "<html><head><title>404 Not Found</title></head></html>")),
    next_model("an empty 404", error(404, "")),
    next_model(
        "openai organization not verified",
        error(
            400,
            error_json(
                "unsupported_value",
                "Your organization must be verified to stream this "
                "model. Please go to: https://platform.openai.com/settings/organization/general and click on Verify "
                "Organization.",
                type="invalid_request_error",
                param="stream",
            ),
        ),
    ),
    next_model(
        "openai schema of a tool",
        error(
            400,
            error_json(
                "invalid_function_parameters",
                "Invalid schema for function 'f': schema must be a JSON Schema of 'type: \"object\"'",
                type="invalid_request_error",
                param="tools[0].function.parameters",
            ),
        ),
    ),
    next_model(
        "mistral 422 for message roles",
        error(
            422,
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "value_error",
                            "loc": ["body", "messages", 0],
                            "msg": "Value error, unexpected role",
                            "input": "x",
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            },
        ),
    ),
    next_model(
        "mistral order of message roles",
        error(
            400,
            {
                "object": "error",
                "message": "Expected last role User or Tool (or "
                "Assistant with prefix True) for serving but got assistant",
                "type": "invalid_request_message_order",
                "code": "3230",
            },
        ),
    ),
    next_model(
        "vllm images",
        error(
            400, error_json(400, "At most 0 image(s) may be provided in one prompt.", type="BadRequestError")
        ),
    ),
    next_model(
        "ollama no tools",
        error(
            400,
            error_json(None, "registry.ollama.ai/library/gemma3:4b does not support tools", type="api_error"),
        ),
    ),
    next_model(
        "gemini precondition",
        error(
            400,
            [
                {
                    "error": {
                        "code": 400,
                        "message": "User location is not supported for the API use.",
                        "status": "FAILED_PRECONDITION",
                    }
                }
            ],
        ),
    ),
    next_model("an empty 400", error(400, "")),
    next_model("422 detail as text", error(422, {"detail": "Unprocessable"})),
    next_model("499", error(499, error_json(499, "The operation was cancelled.", status="CANCELLED"))),
    next_model("405", error(405, {"detail": "Method Not Allowed"})),
    next_model("a list of errors", error(400, {"errors": [{"message": "Bad thing", "code": 7}]})),
    next_model("cloudflare", error(403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>")),
    next_model("400 in a 200", in_200(error_json(400, "tools are not supported here"))),
)


RANDOM_OUTPUT = (
    retried(
        "groq tool_use_failed",
        error(
            400,
            error_json(
                "tool_use_failed",
                "Failed to call a function. Please adjust your prompt. "
                "See 'failed_generation' for more details.",
                type="invalid_request_error",
                failed_generation="<function=f{}",
            ),
        ),
    ),
    retried(
        "groq json_validate_failed",
        error(
            400,
            error_json(
                "json_validate_failed",
                "Failed to generate JSON. Please adjust your prompt.",
                type="invalid_request_error",
                failed_generation='{\n  "a": ',
            ),
        ),
    ),
    retried(
        "groq, in a 200",
        in_200(
            error_json(
                "tool_use_failed", "Failed to call a function.", type="invalid_request_error", status_code=400
            )
        ),
    ),
    Row(
        name="tool_use_failed twice",
        script={"first": [error(400, error_json("tool_use_failed", "Failed to call a function."))]},
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
)


def each(*messages: str) -> dict[str, Script]:
    return {
        model: [error(400, error_json("invalid_value", message, type="invalid_request_error"))]
        for model, message in zip(("first", "second", "long"), messages, strict=True)
    }


REPORTED = (
    Row(
        name="errors of the whole chain are reported",
        script=each("tools: too many", "tools: not supported", "tools: unknown"),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        provider_code="invalid_value",
        message_has=("tools: too many", "tools: not supported", "tools: unknown"),
        provider_message_has="tools: unknown",
    ),
    Row(
        name="type instead of a code",
        script=all_models(
            error(
                400,
                {
                    "type": "error",
                    "error": {
                        "type": "invalid_request_error",
                        "message": "messages: roles must alternate",
                    },
                },
            )
        ),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        provider_code="invalid_request_error",
        message_has=("roles must alternate",),
    ),
    Row(
        name="top-level message",
        script=all_models(
            error(
                400,
                {
                    "object": "error",
                    "message": "the template failed",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                },
            )
        ),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        message_has=("the template failed",),
    ),
    Row(
        name="validation details",
        script=all_models(
            error(
                422,
                {
                    "detail": [
                        {
                            "type": "missing",
                            "loc": ["body", "messages", 0, "content"],
                            "msg": "Field required",
                        }
                    ]
                },
            )
        ),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        message_has=("Field required",),
    ),
    Row(
        name="a message of 200 KB",
        modes=WHOLE,
        script=all_models(error(400, error_json("invalid_value", "too much: " + "x" * 200_000))),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        message_has=("too much: xxx",),
        provider_message_has="too much: xxx",
    ),
    Row(
        name="plain text",
        script=all_models(error(400, "Invalid JSON: expected `,`")),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        message_has=("expected `,`",),
    ),
)
