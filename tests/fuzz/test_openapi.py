"""Requests that schemathesis makes of our own openapi.json, against what it says of the answers."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case, CheckFunction
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("fuzz")
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


def test_some_requests(quick_stack: RunningStack) -> None:
    ask_many(quick_stack, number=8, start=7)


@pytest.mark.long
def test_many_requests(quick_stack: RunningStack) -> None:
    ask_many(quick_stack, number=40, start=8)


def ask_many(stack: RunningStack, *, number: int, start: int) -> None:
    """So many of each route."""
    schema = schemathesis.openapi.from_url(f"{stack.gateway}/openapi.json")
    schema.validate()
    doors = {"stream": stack.url, "converse": stack.gateway}
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        for function in found.ok().tags or ():

            @seed(start)
            @settings(max_examples=number, suppress_health_check=list(HealthCheck))
            @given(found.ok().as_strategy())
            def run(case: Case[Any]) -> None:
                answer = case.call(
                    base_url=doors[function],  # noqa: B023  # it runs at once
                    headers={"x-dev-user": "schemathesis"},
                )
                # A 204 is called JSON too.
                case.validate_response(answer, checks=CHECKS if answer.content.strip() else CHECKS[:2])

            run()
