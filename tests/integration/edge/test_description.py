"""The OpenAPI document and the page that a running edge serves."""

from __future__ import annotations

import pytest

from services.edge.http.operation import Operation
from services.edge.openapi import operations
from tests.harness.processes.system import System, started
from tests.harness.requests.edge_client import request

OPERATIONS: list[Operation] = [getattr(operations, name) for name in operations.__all__]


@pytest.fixture(scope="module")
def strict_url(system: System) -> str:
    """An edge that needs a key."""
    return str(started(system.new_edge(PENSTOCK_EDGE_KEYS="required")).ready["url"])


async def test_k2_the_document_has_every_route_of_the_edge_and_no_other(url: str):
    served = (await request("GET", f"{url}/openapi.json")).json
    described = {(path, method.upper()) for path, methods in served["paths"].items() for method in methods}
    assert described == {(each.path.replace("...}", "}"), each.method) for each in OPERATIONS}
    for path, methods in served["paths"].items():
        # The answer to a method that no route has lists the methods of the path.
        answer = await request("QUERY", url + path.replace("{id}", "x"))
        assert answer.status == 405, path
        assert answer.headers["allow"].split(", ") == sorted(method.upper() for method in methods)


async def test_k2_the_page_needs_no_other_server(url: str):
    page = await request("GET", f"{url}/docs")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.body.endswith(b"</html>")
    assert int((await request("HEAD", f"{url}/docs")).headers["content-length"]) == len(page.body)


async def test_k5_both_are_the_same_where_a_key_is_needed(strict_url: str, url: str):
    assert (await request("GET", f"{strict_url}/v1/models")).status == 401
    for path in ("/openapi.json", "/docs"):
        assert (await request("GET", strict_url + path)).body == (await request("GET", url + path)).body
