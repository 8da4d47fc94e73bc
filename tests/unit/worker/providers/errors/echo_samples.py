# ruff: noqa: E501 - messages as they came
"""Refusals that repeat what the request said: in quotation marks, an address, a name, a place, JSON or a copy of the
body. Each is one request's, whatever it sounds like. `.../...` stands for words that a request can choose.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["ECHOES", "Echo"]


class Echo(NamedTuple):
    name: str
    status: int
    """200: inside an answer that began well."""
    body: Any


def _said(message: str, **more: Any) -> dict[str, Any]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    }


def _detail(*loc: str | int, **more: Any) -> dict[str, Any]:
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
    # of models
    Echo("another model to fall back on", 400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}),
    Echo("an image that is not found", 400, _said("Failed to download image from https://cdn.example.com/models/dress.jpg: image not found", code="invalid_image_url")),
    Echo("a function like a model", 400, _said("Invalid value for 'tool_choice': function 'model-lookup' not found in tools.", param="tool_choice", code="invalid_value")),
    Echo("a tool's model", 400, _said("The model 'foo-image' does not exist.", param="tools[0].model", code="model_not_found")),
    Echo("a tool's model, without its place", 400, _said("The model 'foo-image' does not exist.", code="model_not_found")),
    Echo("another model, without quotes", 404, _said("Invalid model: mistral-x", code="invalid_model")),
    Echo("an address like a model", 400, _said("Error while downloading https://x.y/the model abc does not exist.png. Upstream status code: 404.", code="invalid_image_url")),
    Echo("a file like a model", 404, _said("File 'unknown model.pdf' not found", param="messages[0].content[0].file.file_id")),
    Echo("a file like the model", 404, _said("File 'the model first does not exist' not found")),
    Echo("a tool like a model, in a stream", 200, {"error": {"message": "Invalid tool 'the model x has been deprecated'", "code": 400}}),
    Echo("a tool like the model", 400, _said("Invalid tool 'The model `first` does not exist'")),
    Echo("a schema like a model", 400, _said("Invalid schema for response_format 'model-output': reference '#/$defs/x' not found", param="response_format", code="invalid_value")),
    Echo("a draft model", 400, _said("prediction: draft model 'x' not found")),
    Echo("an adapter", 404, _said("LoRA adapter model 'foo' not found")),
    Echo("a voice", 400, _said("The voice model 'x' does not exist", param="audio.voice")),
    Echo("a key like the model", 400, _said("model first does not exist: Extra inputs are not permitted")),
    Echo("a key that goes on behind the model", 400, _said("The model first does not exist. Please: Extra inputs are not permitted")),
    Echo("a thread", 404, _said("Conversation model-run-12 not found")),
    Echo("a prompt", 404, _said("Prompt with id 'pmpt_model_x' not found.")),
    # of money
    Echo("a key like money", 400, _said("Unknown parameter: 'credit balance is too low'.", param="credit balance is too low", code="unknown_parameter")),
    Echo("a place like money", 422, {"object": "error", "message": _detail("payment required", input=1), "type": "invalid_request_error"}),
    Echo("a place like an account", 422, _detail("your account is suspended")),
    Echo("anthropic's form of it", 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low.: Extra inputs are not permitted"}}),
    Echo("a prompt like money", 400, _said("Could not parse the message 'I get insufficient_quota, your credit balance is too low, try again in 7m' at messages[0].content")),
    Echo("llama.cpp's copy of the messages", 500, {"error": {"code": 500, "message": 'Failed to parse messages: Missing \'content\'; messages = [\n {\n "role": "user",\n "message": "x", "code": "insufficient_quota"\n }\n]', "type": "server_error"}}),
    Echo("a copy of the body", 422, {**_detail("messages", 0, "content", input={"a": 1}), "body": _REQUEST}),
    Echo("a copy of the input", 422, _detail("messages", input=_REQUEST, ctx={"error": _REQUEST}, url="https://errors/insufficient_quota")),
    Echo("a budget for thinking", 400, _said("thinking budget exceeded its limit: max_tokens must be greater than thinking.budget_tokens")),
    Echo("a prompt with an error in JSON", 400, _said('Invalid prompt: {"error":{"code":"insufficient_quota","message":"your credit balance is too low"}}')),
    Echo("a 500 with the prompt", 500, _said("template error near 'payment required'", type="server_error")),
    # of keys
    Echo("groq's property like a key", 400, _said("'messages.0' : for 'role:user' the following must be satisfied[('messages.0' : property 'api key is invalid' is unsupported)]")),
    Echo("a schema like a key", 400, _said("Invalid schema for function 'x': 'invalid credentials' is not valid under any of the given schemas.", param="tools[0].function.parameters", code="invalid_function_parameters")),
    Echo("a file of another's", 403, [{"error": {"code": 403, "message": "You do not have permission to access the File abc123 or it may not exist.", "status": "PERMISSION_DENIED"}}]),
    Echo("cached content", 403, [{"error": {"code": 403, "message": "CachedContent not found (or permission denied)", "status": "PERMISSION_DENIED"}}]),
    Echo("an image of a team", 403, _said("Unable to fetch image https://cdn/team-account/pic.png: 403 Forbidden")),
    Echo("a prompt like an account, in a 200", 200, {"error": {"message": 'Invalid prompt: "my account has been suspended, invalid api key"', "code": 400}}),
    Echo("a role like a key", 400, _said("Invalid value: 'invalid api key'. Supported values are: 'system', 'assistant'.", param="messages[0].role", code="invalid_value")),
    Echo("a quotation that is closed too early", 400, _said("Invalid value: 'x' your api key is not valid 'y'.")),
    Echo("a quotation that is never closed", 400, _said("Could not read the tool `api key not valid. Please pass a valid API key.")),
    # of limits
    Echo("a 500 like a limit", 500, _said("template error near 'rate limit exceeded, try again in 20m'", type="server_error")),
    Echo("a 500 like a limit, without quotes", 500, _said("template error: rate limit exceeded, try again in 20m", type="server_error")),
    Echo("a 400 like a limit", 400, _said("Invalid prompt: 'Error 429 rate_limit_exceeded: try again in 7m12s'")),
    Echo("a 200 like a limit", 200, _said("Invalid prompt: too many requests, try again in 20m", code=400)),
    # of content
    Echo("the parameter moderation", 400, _said("Unknown parameter: 'moderation'.", param="moderation", code="unknown_parameter")),
    Echo("an address with moderation", 400, _said("Could not fetch https://a.b/moderation/policy.png")),
    Echo("an address with guidelines", 400, _said("Failed to download image from https://x.com/safety-guidelines/a.png")),
    # of parameters
    Echo("an address like a parameter", 400, _said("Failed to load image https://x/?max_tokens is not supported")),
    Echo("an address with a parameter's quotes", 400, _said("Failed to load image https://x/?'temperature' is not supported")),
    Echo("a value like a parameter", 400, _said("Invalid value: 'temperature is not supported'. Supported values are: 'system', 'assistant'.", code="invalid_value")),
    Echo("a tool like a parameter", 400, _said('Invalid tool "reasoning_effort is not supported"')),
)  # fmt: skip
"""The first of each kind are an adversary's; `body` is what a provider answers a model that is called as `first`."""


def _check() -> None:
    for echo in ECHOES:
        json.dumps(echo.body)


_check()
