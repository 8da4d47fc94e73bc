# ruff: noqa: E501 - one sample a line
"""Refusals that echo text of the request: in quotes, URLs, names, paths, JSON or a copy of the body. Each concerns one
request, although the echo reads like an error of the model, the provider account or the provider.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ECHOES", "Echo"]


class Echo(NamedTuple):
    name: str
    status: int
    """200: an error inside a successful response."""
    body: Any


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    }


def _validation_error(*loc: str | int, **more: Any) -> dict[str, Any]:
    item = {"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted", **more}
    return {"detail": [item]}


_REQUEST = {
    "model": "first",
    "code": "insufficient_quota",
    "type": "authentication_error",
    "message": "api key not valid",
    "messages": [],
}

ECHOES = (
    # Echoes that resemble a missing model
    Echo("a fallback model", 400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}),
    Echo("an image not found", 400, _error("Failed to download image from https://cdn.example.com/models/dress.jpg: image not found", code="invalid_image_url")),
    Echo("a function named like a model", 400, _error("Invalid value for 'tool_choice': function 'model-lookup' not found in tools.", param="tool_choice", code="invalid_value")),
    Echo("the model of a tool", 400, _error("The model 'foo-image' does not exist.", param="tools[0].model", code="model_not_found")),
    Echo("the model of a tool, without a path", 400, _error("The model 'foo-image' does not exist.", code="model_not_found")),
    Echo("another model, without quotes", 404, _error("Invalid model: mistral-x", code="invalid_model")),
    Echo("a URL that contains a model message", 400, _error("Error while downloading https://x.y/the model abc does not exist.png. Upstream status code: 404.", code="invalid_image_url")),
    Echo("a file named like a model", 404, _error("File 'unknown model.pdf' not found", param="messages[0].content[0].file.file_id")),
    Echo("a file named like the called model", 404, _error("File 'the model first does not exist' not found")),
    Echo("a tool named like a model, in a stream", 200, {"error": {"message": "Invalid tool 'the model x has been deprecated'", "code": 400}}),
    Echo("a tool named like the called model", 400, _error("Invalid tool 'The model `first` does not exist'")),
    Echo("a schema named like a model", 400, _error("Invalid schema for response_format 'model-output': reference '#/$defs/x' not found", param="response_format", code="invalid_value")),
    Echo("a draft model", 400, _error("prediction: draft model 'x' not found")),
    Echo("an adapter", 404, _error("LoRA adapter model 'foo' not found")),
    Echo("a voice", 400, _error("The voice model 'x' does not exist", param="audio.voice")),
    Echo("a field named like a model message", 400, _error("model first does not exist: Extra inputs are not permitted")),
    Echo("a field named like a longer model message", 400, _error("The model first does not exist. Please: Extra inputs are not permitted")),
    Echo("a missing thread", 404, _error("Conversation model-run-12 not found")),
    Echo("a missing prompt", 404, _error("Prompt with id 'pmpt_model_x' not found.")),
    # a spent budget
    Echo("a field named like a budget message", 400, _error("Unknown parameter: 'credit balance is too low'.", param="credit balance is too low", code="unknown_parameter")),
    Echo("a path like a budget message", 422, {"object": "error", "message": _validation_error("payment required", input=1), "type": "invalid_request_error"}),
    Echo("a path like an account message", 422, _validation_error("your account is suspended")),
    Echo("a path like a budget message, from Anthropic", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low.: Extra inputs are not permitted"}}),
    Echo("a prompt with a budget message", 400, _error("Could not parse the message 'I get insufficient_quota, your credit balance is too low, try again in 7m' at messages[0].content")),
    Echo("a copy of the messages, from llama.cpp", 500, {"error": {"code": 500, "message": 'Failed to parse messages: Missing \'content\'; messages = [\n {\n "role": "user",\n "message": "x", "code": "insufficient_quota"\n }\n]', "type": "server_error"}}),
    Echo("a copy of the body", 422, {**_validation_error("messages", 0, "content", input={"a": 1}), "body": _REQUEST}),
    Echo("a copy of the input", 422, _validation_error("messages", input=_REQUEST, ctx={"error": _REQUEST}, url="https://errors/insufficient_quota")),
    Echo("a thinking budget", 400, _error("thinking budget exceeded its limit: max_tokens must be greater than thinking.budget_tokens")),
    Echo("a prompt with an error in JSON", 400, _error('Invalid prompt: {"error":{"code":"insufficient_quota","message":"your credit balance is too low"}}')),
    Echo("a 500 with a part of the prompt", 500, _error("template error near 'payment required'", type="server_error")),
    # a refused key
    Echo("a property named like a key message, from Groq", 400, _error("'messages.0' : for 'role:user' the following must be satisfied[('messages.0' : property 'api key is invalid' is unsupported)]")),
    Echo("a schema with a key message", 400, _error("Invalid schema for function 'x': 'invalid credentials' is not valid under any of the given schemas.", param="tools[0].function.parameters", code="invalid_function_parameters")),
    Echo("a file without permission", 403, [{"error": {"code": 403, "message": "You do not have permission to access the File abc123 or it may not exist.", "status": "PERMISSION_DENIED"}}]),
    Echo("cached content without permission", 403, [{"error": {"code": 403, "message": "CachedContent not found (or permission denied)", "status": "PERMISSION_DENIED"}}]),
    Echo("an image of a team account", 403, _error("Unable to fetch image https://cdn/team-account/pic.png: 403 Forbidden")),
    Echo("a prompt with an account message, in a 200", 200, {"error": {"message": 'Invalid prompt: "my account has been suspended, invalid api key"', "code": 400}}),
    Echo("a role named like a key message", 400, _error("Invalid value: 'invalid api key'. Supported values are: 'system', 'assistant'.", param="messages[0].role", code="invalid_value")),
    Echo("a quote that is closed too early", 400, _error("Invalid value: 'x' your api key is not valid 'y'.")),
    Echo("a quote that is never closed", 400, _error("Could not read the tool `api key not valid. Please pass a valid API key.")),
    # a rate limit
    Echo("a 500 with a rate limit message", 500, _error("template error near 'rate limit exceeded, try again in 20m'", type="server_error")),
    Echo("a 500 with an unquoted rate limit message", 500, _error("template error: rate limit exceeded, try again in 20m", type="server_error")),
    Echo("a 400 with a rate limit message", 400, _error("Invalid prompt: 'Error 429 rate_limit_exceeded: try again in 7m12s'")),
    Echo("a 200 with a rate limit message", 200, _error("Invalid prompt: too many requests, try again in 20m", code=400)),
    # filtered content
    Echo("a parameter named moderation", 400, _error("Unknown parameter: 'moderation'.", param="moderation", code="unknown_parameter")),
    Echo("a URL with moderation", 400, _error("Could not fetch https://a.b/moderation/policy.png")),
    Echo("a URL with guidelines", 400, _error("Failed to download image from https://x.com/safety-guidelines/a.png")),
    # a refused parameter
    Echo("a URL with a parameter message", 400, _error("Failed to load image https://x/?max_tokens is not supported")),
    Echo("a URL with a quoted parameter", 400, _error("Failed to load image https://x/?'temperature' is not supported")),
    Echo("a value like a parameter message", 400, _error("Invalid value: 'temperature is not supported'. Supported values are: 'system', 'assistant'.", code="invalid_value")),
    Echo("a tool named like a parameter message", 400, _error('Invalid tool "reasoning_effort is not supported"')),
)  # fmt: skip
"""`body` is the error of a provider whose model is called `first`."""
