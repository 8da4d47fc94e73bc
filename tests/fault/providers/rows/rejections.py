"""Refusals of what a request says or asks for, in every shape.

RequestBodies as public issues and documentation show them, with figures of our own; looked up in November 2026.
"""

from __future__ import annotations

from typing import Any

from tests.fault.providers.rows.table import WHOLE, Both, Row, Script, all_models, in_200
from tests.fault.providers.rows.wire import Answer, completion, delta, error, spoken, stream

HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


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


def filtered(name: str, answer: Answer | Both) -> Row:
    return Row(name=f"filtered, {name}", script={"first": [answer]}, code="content_filtered")


def again(name: str, answer: Answer | Both) -> Row:
    """What a model wrote at random could not be used: the same model once more."""
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
            spoken(
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
            spoken(
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
            spoken(
                "invalid_prompt",
                "Invalid prompt: your prompt was flagged as "
                "potentially violating our usage policy. Please try again with a different prompt.",
                type="invalid_request_error",
            ),
        ),
    ),
    filtered("in a 200", in_200(spoken("content_filter", "The prompt was filtered."))),
)


REFUSED = (
    elsewhere(
        "openrouter no endpoints",
        error(
            404,
            spoken(
                404,
                "No endpoints found that support tool use. To learn more "
                "about provider routing, visit: https://openrouter.ai/docs/provider-routing",
            ),
        ),
    ),
    elsewhere(
        "openrouter data policy", error(404, spoken(404, "No endpoints found matching your data policy."))
    ),
    elsewhere("a 404 of HTML", error(404, "<html><head><title>404 Not Found</title></head></html>")),
    elsewhere("an empty 404", error(404, "")),
    elsewhere(
        "not verified",
        error(
            400,
            spoken(
                "unsupported_value",
                "Your organization must be verified to stream this "
                "model. Please go to: https://platform.openai.com/settings/organization/general and click on Verify "
                "Organization.",
                type="invalid_request_error",
                param="stream",
            ),
        ),
    ),
    elsewhere(
        "a tool's schema",
        error(
            400,
            spoken(
                "invalid_function_parameters",
                "Invalid schema for function 'f': schema must be a JSON Schema of 'type: \"object\"'",
                type="invalid_request_error",
                param="tools[0].function.parameters",
            ),
        ),
    ),
    elsewhere(
        "mistral 422 of the roles",
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
    elsewhere(
        "mistral order of roles",
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
    elsewhere(
        "images",
        error(400, spoken(400, "At most 0 image(s) may be provided in one prompt.", type="BadRequestError")),
    ),
    elsewhere(
        "ollama no tools",
        error(
            400, spoken(None, "registry.ollama.ai/library/gemma3:4b does not support tools", type="api_error")
        ),
    ),
    elsewhere(
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
    elsewhere("an empty 400", error(400, "")),
    elsewhere("422 detail as text", error(422, {"detail": "Unprocessable"})),
    elsewhere("499", error(499, spoken(499, "The operation was cancelled.", status="CANCELLED"))),
    elsewhere("405", error(405, {"detail": "Method Not Allowed"})),
    elsewhere("a list of errors", error(400, {"errors": [{"message": "Bad thing", "code": 7}]})),
    elsewhere("cloudflare", error(403, "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>")),
    elsewhere("400 in a 200", in_200(spoken(400, "tools are not supported here"))),
)


AT_RANDOM = (
    again(
        "groq tool_use_failed",
        error(
            400,
            spoken(
                "tool_use_failed",
                "Failed to call a function. Please adjust your prompt. "
                "See 'failed_generation' for more details.",
                type="invalid_request_error",
                failed_generation="<function=f{}",
            ),
        ),
    ),
    again(
        "groq json_validate_failed",
        error(
            400,
            spoken(
                "json_validate_failed",
                "Failed to generate JSON. Please adjust your prompt.",
                type="invalid_request_error",
                failed_generation='{\n  "a": ',
            ),
        ),
    ),
    again(
        "groq in the stream",
        in_200(
            spoken(
                "tool_use_failed", "Failed to call a function.", type="invalid_request_error", status_code=400
            )
        ),
    ),
    Row(
        name="tool_use_failed twice",
        script={"first": [error(400, spoken("tool_use_failed", "Failed to call a function."))]},
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
)


def each(*messages: str) -> dict[str, Script]:
    return {
        model: [error(400, spoken("invalid_value", message, type="invalid_request_error"))]
        for model, message in zip(("first", "second", "long"), messages, strict=True)
    }


REPORTED = (
    Row(
        name="the chain ends",
        script=each("tools: too many", "tools: not here", "tools: never heard of"),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        provider_code="invalid_value",
        says=("tools: too many", "tools: not here", "tools: never heard of"),
        provider_says="tools: never heard of",
    ),
    Row(
        name="a type where there is no code",
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
        says=("roles must alternate",),
    ),
    Row(
        name="top-level message",
        script=all_models(
            error(
                400,
                {
                    "object": "error",
                    "message": "the template broke",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                },
            )
        ),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        says=("the template broke",),
    ),
    Row(
        name="details",
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
        says=("Field required",),
    ),
    Row(
        name="a message of 200 KB",
        modes=WHOLE,
        script=all_models(error(400, spoken("invalid_value", "too much: " + "x" * 200_000))),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        says=("too much: xxx",),
        provider_says="too much: xxx",
    ),
    Row(
        name="plain text",
        script=all_models(error(400, "Invalid JSON: expected `,`")),
        code="provider_refused",
        calls={"first": 1, "second": 1, "long": 1},
        says=("expected `,`",),
    ),
)
