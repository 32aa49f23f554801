"""Requests that schemathesis makes of our own openapi.json, against what it says of the answers."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import Case, CheckFunction
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("fuzz")
CHECKS: list[CheckFunction] = [not_a_server_error, content_type_conformance, response_schema_conformance]


def test_some_requests(quick_stack: RunningStack) -> None:
    ask_many(quick_stack, number=8, start=7)


@pytest.mark.long
def test_many_requests(quick_stack: RunningStack) -> None:
    ask_many(quick_stack, number=40, start=8)


def ask_many(stack: RunningStack, *, number: int, start: int) -> None:
    """So many of each route."""
    schema = schemathesis.openapi.from_url(f"{stack.gateway}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)

        @seed(start)
        @settings(max_examples=number, suppress_health_check=list(HealthCheck))
        @given(found.ok().as_strategy())
        def run(case: Case[Any]) -> None:
            answer = case.call(headers={"x-dev-user": "schemathesis"})
            case.validate_response(answer, checks=CHECKS if answer.content else CHECKS[:1])  # a 204 is called JSON too

        run()
