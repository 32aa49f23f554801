"""Checks real responses against openapi.json."""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.fuzz.functions import Name

# Headers of every response, or of the AWS services in front of the functions.
COMMON_HEADERS = re.compile(
    r"content-type|cache-control|content-length|date|server|connection|transfer-encoding|vary|x-accel-buffering"
    r"|access-control-.*"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response of a function; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0] if self.body else ""

    @property
    def code(self) -> str:
        """The code of the error in the body."""
        return str(json.loads(self.body)["error"]["code"])

    @property
    def events(self) -> Iterator[tuple[str, str]]:
        """The id and the data of each event of a stream."""
        for block in self.body.decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            if "data" in fields:
                yield fields.get("id", ""), fields["data"]


class Description:
    """The document with strict validation: responses must not contain anything that it does not describe."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, Draft202012Validator] = {}

    @cached_property
    def outcomes(self) -> set[tuple[Name, str, int, str]]:
        """All described outcomes: function, route, status, and error code or media type."""
        result = set()
        for path, operations in self.document["paths"].items():
            for method, operation in operations.items():
                for status, response in operation["responses"].items():
                    for kind in self._kinds(self._resolved(response)):
                        for function in operation["tags"]:
                            result.add((function, f"{method.upper()} {path}", int(status), kind))
        return result

    def _kinds(self, response: Mapping[str, Any]) -> list[str]:
        content = response.get("content", {})
        match content.get("application/json", {}).get("schema", {}):
            case {"allOf": [_, {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}]}:
                return list(codes)
        return list(content) or [""]

    def operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """The described path and operation of a request, or None."""
        for template, operations in self.document["paths"].items():
            operation = operations.get(method.lower()) if method.isupper() else None  # methods are case-sensitive
            if operation and re.fullmatch(re.sub(r"\{.*?\}", "[^/]+", template), path):
                return template, operation
        return None

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Fails if the response is not described."""
        match = self.operation(method, path)
        assert match, f"{method} {path} is not described"
        described = match[1]["responses"].get(str(answer.status))
        assert described, f"{method} {path} does not describe {answer.status}: {answer.body!r}"
        response = self._resolved(described)
        self._check_headers(response.get("headers", {}), answer.headers)
        content = response.get("content", {})
        if not content:
            assert not answer.body.strip(), f"{method} {path} describes no body of {answer.status}: {answer.body!r}"
            return
        assert answer.media_type in content, f"{method} {path} does not describe {answer.media_type!r}"
        kind = content[answer.media_type]
        if answer.media_type == "application/json":
            self.validate(kind["schema"], json.loads(answer.body))
        else:
            self.check_events(kind["x-eventData"], answer)

    def check_events(self, schema: Any, answer: Answer) -> None:
        """Fails if the stream contains an event that is not described."""
        events = list(answer.events)
        assert events
        for _, data in events:
            self.validate(schema, json.loads(data) if data.startswith("{") else data)

    def check_body(self, method: str, path: str, body: Any) -> None:
        """Fails if the description refuses the body of a request that the function accepts."""
        match = self.operation(method, path)
        assert match
        schema = match[1]["requestBody"]["content"]["application/json"]["schema"]
        self._validator(schema, self.document["components"]).validate(body)

    def validate(self, schema: Any, value: Any) -> None:
        """Fails if the JSON does not match the schema or has fields that are not described."""
        self._validator(schema, self._closed).validate(value)

    def _check_headers(self, described: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            assert name in described or COMMON_HEADERS.fullmatch(name), f"the header {name} is not described"
            if name in described:
                schema = self._resolved(described[name])["schema"]
                self.validate(schema, int(value) if schema.get("type") == "integer" else value)

    def _validator(self, schema: Any, components: Any) -> Draft202012Validator:
        key = json.dumps([schema, components is self._closed], sort_keys=True)
        if key not in self._validators:
            self._validators[key] = Draft202012Validator({**schema, "components": components})
        return self._validators[key]

    @cached_property
    def _closed(self) -> Any:
        components = deepcopy(self.document["components"])
        for schema in components["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False
        return components

    def _resolved(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in value:
            return value
        result: Any = self.document
        for step in value["$ref"].removeprefix("#/").split("/"):
            result = result[step]
        return dict(result)
