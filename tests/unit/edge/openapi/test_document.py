"""K2: the OpenAPI document says what the code does."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from penstock.contract.jobs import Job
from services.edge.answers.limit_headers import LIMIT_HEADERS
from services.edge.answers.reply_facts import REPLY_HEADERS
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.responses import ResponsesDialect
from services.edge.http.errors import ALL_ERRORS, HttpError
from services.edge.http.operation import Operation
from services.edge.jobs.job_view import job_page, job_view, submitted_view
from services.edge.openapi import operations
from services.edge.openapi.document import openapi_document
from services.edge.requests.options import read_options
from services.router.routing.features import extract_features
from services.router.routing.outcome import InvalidRequest

OPERATIONS: list[Operation] = [getattr(operations, name) for name in operations.__all__]
DOCUMENT = msgspec.json.decode(msgspec.json.encode(openapi_document(OPERATIONS, "1.2.3")))
METHODS = [
    (f"{method.upper()} {path}", described)
    for path, methods in DOCUMENT["paths"].items()
    for method, described in methods.items()
]
DESCRIBED = pytest.mark.parametrize(
    "described", [each for _, each in METHODS], ids=[name for name, _ in METHODS]
)
JOB = Job(id="1", client="c", account="a", role="chat", state="completed", at_ms=2_000, submitted_ms=1_000)


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def component(name: str) -> Draft202012Validator:
    return validator({"$ref": f"#/components/schemas/{name}"})


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for each in value.values() for found in references(each)]
    return [found for each in value for found in references(each)] if isinstance(value, list) else []


def test_k2_every_operation_has_its_own_id_and_place():
    assert len(METHODS) == len(OPERATIONS) == len({operation.id for operation in OPERATIONS})
    assert {operation.id for operation in OPERATIONS} == {
        described["operationId"] for _, described in METHODS
    }


@DESCRIBED
def test_k2_an_operation_is_described_completely(described: dict[str, Any]):
    assert described["summary"]
    assert described["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    for parameter in described.get("parameters", ()):
        assert parameter["description"], parameter["name"]
        Draft202012Validator.check_schema(parameter["schema"])
    for status, response in described["responses"].items():
        assert response["description"], status


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_k2_a_type_is_a_json_schema_with_a_plain_name(name: str):
    assert re.fullmatch("[A-Za-z0-9]+", name)
    Draft202012Validator.check_schema(DOCUMENT["components"]["schemas"][name])


def test_k2_every_reference_leads_to_a_part_of_the_document():
    for reference in references(DOCUMENT):
        part = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def headers(path: str, method: str) -> dict[str, Any]:
    parameters = DOCUMENT["paths"][path][method]["parameters"]
    return {each["name"]: each for each in parameters if each["in"] == "header"}


def test_k2_the_headers_of_a_request_are_those_that_the_edge_reads():
    names = [name for name in headers("/v1/chat/completions", "post") if name.startswith("x-penstock-")]
    with pytest.raises(HttpError) as refused:
        read_options([(b"x-penstock-nothing-like-it", b"1")])
    assert refused.value.message.endswith(
        f"use one of {', '.join(name.removeprefix('x-penstock-') for name in names)}"
    )


@pytest.mark.parametrize(
    "header", list(headers("/v1/chat/completions", "post").values()), ids=lambda each: each["name"]
)
def test_k2_the_edge_accepts_the_documented_values_of_a_header(header: dict[str, Any]):
    schema = header["schema"]
    values = (
        schema.get("enum")
        or schema.get("examples")
        or {"boolean": ["true", "false"], "number": ["0.5"]}.get(schema.get("type"), ["text"])
    )
    for value in values:
        read_options([(header["name"].encode(), value.encode())])


def test_k2_the_headers_of_an_answer_are_those_that_the_edge_sends():
    assert DOCUMENT["paths"]["/v1/messages"]["post"]["responses"]["200"]["headers"].keys() == {
        *REPLY_HEADERS,
        *LIMIT_HEADERS["anthropic"],
        "idempotent-replayed",
    }


def test_d10_every_error_code_is_in_the_document_at_its_status():
    found: dict[str, set[int]] = {}
    for _, described in METHODS:
        for status, response in described["responses"].items():
            for code in re.findall(r"`(\w+)`: ", response["description"]):
                found.setdefault(code, set()).add(int(status))
    assert found == {
        code: {error.status} for code, error in ALL_ERRORS.items() if code != "method_not_allowed"
    }


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        (ChatDialect(), "/v1/chat/completions"),
        (ResponsesDialect(), "/v1/responses"),
        (MessagesDialect(), "/v1/messages"),
    ],
)
def test_d10_an_error_has_the_documented_shape(dialect: Any, path: str):
    responses = DOCUMENT["paths"][path]["post"]["responses"]
    schema = responses["404"]["content"]["application/json"]["schema"]
    body = json.loads(dialect.error(AnswerError("unknown_role", "why", 404), "model"))
    validator(schema).validate(body)
    blocked = responses["400"]["content"]["application/json"]["schema"]
    validator(blocked).validate(json.loads(dialect.error(AnswerError("blocked", "why", 400, ("hate",)))))
    assert not validator(schema).is_valid(
        json.loads(dialect.error(AnswerError("internal", "why", 404), "model"))
    )
    assert not validator(schema).is_valid({})


@pytest.mark.parametrize(
    ("name", "extra", "valid"),
    [
        ("ChatCompletionRequest", 1, True),
        ("MessagesRequest", 1, True),
        ("ResponsesRequest", 1, False),
        ("ResponsesRequest", None, True),
    ],
)
def test_e1_further_fields_of_a_body_are_allowed_where_the_edge_allows_them(
    name: str, extra: Any, *, valid: bool
):
    asked = [{"role": "user", "content": "Hi"}]
    body = {"model": "auto", "messages": asked, "input": "Hi", "max_tokens": 5}
    if name == "ResponsesRequest":
        del body["messages"], body["max_tokens"]
    component(name).validate(body)
    assert component(name).is_valid({**body, "an_unknown_field": extra}) == valid


def test_e1_the_documented_roles_of_messages_are_those_that_the_router_accepts():
    messages = DOCUMENT["components"]["schemas"]["ChatCompletionRequest"]["properties"]["messages"]
    for role in messages["items"]["properties"]["role"]["enum"]:
        extract_features(msgspec.json.encode({"messages": [{"role": role}]}))
    with pytest.raises(InvalidRequest, match=", ".join(messages["items"]["properties"]["role"]["enum"])):
        extract_features(b'{"messages": [{"role": "x"}]}')


def test_e4_a_job_has_the_documented_fields():
    for view in (job_view(JOB), submitted_view("1")):
        component("Job").validate(view)
    assert DOCUMENT["components"]["schemas"]["Job"]["properties"].keys() == job_view(JOB).keys()
    component("JobList").validate(job_page([JOB], after=None, limit=1))


def test_d10_every_operation_but_health_and_metrics_is_a_503_while_an_edge_starts():
    without = {name for name, each in METHODS if "`bus_unavailable`" not in str(each["responses"].get("503"))}
    assert without == {"GET /healthz", "GET /readyz", "GET /metrics"}


def test_k5_a_key_is_optional_where_one_may_be_needed():
    without = {
        path for path, methods in DOCUMENT["paths"].items() if "security" not in next(iter(methods.values()))
    }
    assert without == {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
    assert DOCUMENT["paths"]["/v1/jobs"]["get"]["security"] == [{}, {"bearer": []}, {"x-api-key": []}]
