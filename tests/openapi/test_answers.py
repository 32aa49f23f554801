"""Every answer that openapi.json describes is got from the functions, and every answer that they give is described."""

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
from tests.openapi.cases import AT_ANY, BY_ERROR, GOOD, NOT_SENT, Case, Way, cases
from tests.openapi.description import Description
from tests.openapi.world import World
from tests.stack import ROOT

DESCRIPTION = Description(document())
WAYS = {way.__name__: way for way in AT_ANY} | {
    error.__name__: way for error, way in BY_ERROR.items() if way not in AT_ANY
}


@pytest.mark.parametrize("case", cases(DESCRIPTION.outcomes), ids=str)
def test_each_described_answer_is_given_as_described(functions: World, case: Case) -> None:
    answer = case.way(functions, case.name, case.route)
    assert answer.status == case.status, answer
    assert (answer.code if answer.status >= 400 else answer.media_type) == case.kind
    asked = GOOD[case.route]
    DESCRIPTION.check(asked.method, asked.path.partition("?")[0], answer)
    if answer.status < 300 and asked.body is not None:
        DESCRIPTION.check_body(asked.method, asked.path, asked.body)
    assert answer.headers.get("x-request-id") == "request" or answer.status == 500


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_whatever_happens_at_a_route_is_described(functions: World, way: Way) -> None:
    """Also where the description knows nothing of it."""
    for name, route in sorted({(name, route) for name, route, _, _ in DESCRIPTION.outcomes}):
        if way not in AT_ANY and GOOD[route].body is None:
            continue
        with pytest.MonkeyPatch.context() as functions.patch:
            answer = way(functions, name, route)
        functions.reset()
        method, _, path = route.partition(" ")
        DESCRIPTION.check(method, path, answer)


def test_there_is_a_way_to_every_error() -> None:
    """So that a new one is looked for at every route."""
    known = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ChatError)}
    assert known == BY_ERROR.keys() | NOT_SENT


def test_the_parameters_and_bodies_are_those_that_the_resolver_takes(functions: World) -> None:
    paths = json.loads(functions.module("converse").resolver.get_openapi_json_schema())["paths"]
    for path, operations in paths.items():
        for method, taken in operations.items():
            described = DESCRIPTION.document["paths"][path][method]
            parameters = [common(each) for each in described.get("parameters", ())]
            assert all(common(each) in parameters for each in taken.get("parameters", ()))
            if "requestBody" in taken:
                assert described["requestBody"]["content"] == taken["requestBody"]["content"]


def common(parameter: dict[str, Any]) -> tuple[Any, ...]:
    """What two descriptions of it have in common, if they agree."""
    schema = {key: value for key, value in parameter["schema"].items() if key not in ("title", "anyOf")}
    for choice in parameter["schema"].get("anyOf", ()):  # the resolver says that it may be null
        schema |= choice if choice["type"] != "null" else {}
    return parameter["name"], parameter["in"], parameter["required"], schema


def test_the_description_has_the_routes_of_the_functions(functions: World) -> None:
    described = {(name, re.sub(r"\{.*?\}", "{}", route)) for name, route, _, _ in DESCRIPTION.outcomes}
    stream = {("stream", route) for route in functions.module("stream").ROUTES}
    paths = json.loads(functions.module("converse").resolver.get_openapi_json_schema())["paths"]
    converse = {
        ("converse", re.sub(r"\{.*?\}", "{}", f"{method.upper()} {path}"))
        for path, methods in paths.items()
        for method in methods
    }
    assert described == stream | converse


def test_no_other_request_pays_for_the_description() -> None:
    look = "import sys, {}; sys.exit(any(name.startswith('converse_stream.openapi') for name in sys.modules))"
    for name in ("stream", "converse"):
        path = ":".join(
            str(ROOT / each) for each in (f"functions/{name}", "layers/converse_stream", "layers/streaming_runtime")
        )
        env = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        assert subprocess.run([sys.executable, "-c", look.format(name)], env=env, check=False).returncode == 0


def test_the_document_is_served(functions: World) -> None:
    assert functions.description.document == DESCRIPTION.document
    assert "\\Z" not in json.dumps(DESCRIPTION.document), "JavaScript does not know it"
