"""Requests that schemathesis generates from our openapi.json; the responses must match it."""

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


def test_generated_requests_get_described_responses(quick_stack: RunningStack) -> None:
    send_many(quick_stack, number=8, start=7)


@pytest.mark.long
def test_many_generated_requests_get_described_responses(quick_stack: RunningStack) -> None:
    send_many(quick_stack, number=40, start=8)


def send_many(stack: RunningStack, *, number: int, start: int) -> None:
    """Sends `number` generated requests to each route."""
    schema = schemathesis.openapi.from_url(f"{stack.gateway}/openapi.json")
    schema.validate()
    base_urls = {"stream": stack.url, "converse": stack.gateway}
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        for function in result.ok().tags or ():

            @seed(start)
            @settings(max_examples=number, suppress_health_check=list(HealthCheck))
            @given(result.ok().as_strategy())
            def run(case: Case[Any]) -> None:
                answer = case.call(
                    base_url=base_urls[function],  # noqa: B023  # called in the same iteration
                    headers={"x-dev-user": "schemathesis"},
                )
                # openapi.json gives a content type to a 204 too, which has no body. It describes a stream as a string;
                # schemathesis expects a schema of each event. The events are checked in tests/openapi.
                if not answer.content.strip():
                    checks = CHECKS[:2]
                elif "text/event-stream" in answer.headers.get("content-type", [""])[0]:
                    checks = [check for check in CHECKS if check is not response_schema_conformance]
                else:
                    checks = CHECKS
                case.validate_response(answer, checks=checks)

            run()
