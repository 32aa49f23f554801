"""The functions return every response that openapi.json describes, and every response that they return is described."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from converse_stream.openapi.document import document
from converse_stream.protocol import errors
from converse_stream.protocol.errors import ChatError
from tests.fuzz.functions import ENVIRONMENT
from tests.openapi.cases import BY_ERROR, FOR_ANY_ROUTE, NOT_SENT, VALID, Case, Variant, cases
from tests.openapi.description import Description
from tests.openapi.environment import Environment
from tests.stack import ROOT

DESCRIPTION = Description(document())
VARIANTS = {variant.__name__: variant for variant in FOR_ANY_ROUTE} | {
    error.__name__: variant for error, variant in BY_ERROR.items() if variant not in FOR_ANY_ROUTE
}


@pytest.mark.parametrize("case", cases(DESCRIPTION.outcomes), ids=str)
def test_described_response_is_returned_as_described(functions: Environment, case: Case) -> None:
    answer = case.variant(functions, case.name, case.route)
    assert answer.status == case.status, answer
    assert (answer.code if answer.status >= 400 else answer.media_type) == case.kind
    request = VALID[case.route]
    DESCRIPTION.check(request.method, request.path.partition("?")[0], answer)
    if answer.status < 300 and request.body is not None:
        DESCRIPTION.check_body(request.method, request.path, request.body)
    assert answer.headers.get("x-request-id") == "request" or answer.status == 500


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_response_of_a_variant_is_described(functions: Environment, variant: Variant) -> None:
    """The routes and variants include those without a described response."""
    for name, route in sorted({(name, route) for name, route, _, _ in DESCRIPTION.outcomes}):
        if variant not in FOR_ANY_ROUTE and VALID[route].body is None:
            continue
        with pytest.MonkeyPatch.context() as functions.patch:
            answer = variant(functions, name, route)
        functions.reset()
        method, _, path = route.partition(" ")
        DESCRIPTION.check(method, path, answer)


def test_every_error_has_a_request() -> None:
    """So a new error is tested at every route."""
    defined = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ChatError)}
    assert defined == BY_ERROR.keys() | NOT_SENT


def test_described_parameters_and_bodies_are_those_of_the_resolver(functions: Environment) -> None:
    paths = json.loads(functions.module("converse").resolver.get_openapi_json_schema())["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            described = DESCRIPTION.document["paths"][path][method]
            parameters = [comparable(parameter) for parameter in described.get("parameters", ())]
            assert all(comparable(parameter) in parameters for parameter in operation.get("parameters", ()))
            if "requestBody" in operation:
                assert described["requestBody"]["content"] == operation["requestBody"]["content"]


def comparable(parameter: dict[str, Any]) -> tuple[Any, ...]:
    """The parts of a parameter's description that the document and the resolver have in common."""
    schema = {key: value for key, value in parameter["schema"].items() if key not in ("title", "anyOf")}
    for choice in parameter["schema"].get("anyOf", ()):  # the resolver also allows null
        schema |= choice if choice["type"] != "null" else {}
    return parameter["name"], parameter["in"], parameter["required"], schema


def test_described_routes_are_those_of_the_functions(functions: Environment) -> None:
    described = {(name, re.sub(r"\{.*?\}", "{}", route)) for name, route, _, _ in DESCRIPTION.outcomes}
    stream = {("stream", route) for route in functions.module("stream").ROUTES}
    paths = json.loads(functions.module("converse").resolver.get_openapi_json_schema())["paths"]
    converse = {
        ("converse", re.sub(r"\{.*?\}", "{}", f"{method.upper()} {path}"))
        for path, methods in paths.items()
        for method in methods
    }
    assert described == stream | converse


def test_functions_start_without_loading_the_description() -> None:
    program = "import sys, {}; sys.exit(any(name.startswith('converse_stream.openapi') for name in sys.modules))"
    for name in ("stream", "converse"):
        path = ":".join(
            str(ROOT / folder) for folder in (f"functions/{name}", "layers/converse_stream", "layers/streaming_runtime")
        )
        env = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        assert subprocess.run([sys.executable, "-c", program.format(name)], env=env, check=False).returncode == 0


def test_document_is_served(functions: Environment) -> None:
    assert functions.description.document == DESCRIPTION.document
    assert "\\Z" not in json.dumps(DESCRIPTION.document), "JavaScript has no \\Z in regular expressions"
