"""Every route with an id, requested by users who do not own the resource: the response is 404."""

from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person
from tests.routes import converse_routes, stream_routes

SHORT = "[[tokens=3 pace=1 first=1]]"
BODIES: dict[str, Any] = {"PATCH": {"title": "mine"}, "POST": {}}


def routes() -> list[tuple[str, str, str]]:
    """Returns the entry point, method and path of every route with an id."""
    declared = {"url": stream_routes(), "gateway": converse_routes()}
    named = [
        (entry_point, *route.partition(" ")) for entry_point, routes in declared.items() for route in sorted(routes)
    ]
    return [(entry_point, method, path) for entry_point, method, _, path in named if "{}" in path]


ROUTES = [route for route in routes() if "/v1/models/" not in route[2]]  # models belong to no user


def request(person: Person, entry_point: str, method: str, path: str) -> httpx.Response:
    body = {"json": BODIES[method]} if method in BODIES else {}
    return person.http.request(method, f"{getattr(person.stack, entry_point)}{path}", **body)


def test_all_routes_with_ids_are_found() -> None:
    assert len(ROUTES) >= 11


@pytest.mark.parametrize(("entry_point", "method", "path"), ROUTES)
def test_another_users_resource_is_not_found(
    person: Person, other: Person, entry_point: str, method: str, path: str
) -> None:
    conversation = "named-by-alice"
    person.send(SHORT, conversationId=conversation)
    fact = person.remember("my dog is called Rex")["id"]
    resource = fact if path.startswith("/memory") else conversation
    before = (person.messages(conversation), person.http.get(f"{person.stack.gateway}/memory").json())
    with Person(person.stack) as third:
        for other_user in (other, third):
            existing = request(other_user, entry_point, method, path.replace("{}", resource))
            missing = request(other_user, entry_point, method, path.replace("{}", "missing-resource"))
            # useChat requests a stream before the conversation exists, so the response is 204 for both.
            assert existing.status_code == (204 if (method, path) == ("GET", "/ai/chat/{}/stream") else 404)
            assert (existing.status_code, comparable_error(existing)) == (
                missing.status_code,
                comparable_error(missing),
            ), "the same error for an existing and a missing resource"
    assert before == (person.messages(conversation), person.http.get(f"{person.stack.gateway}/memory").json())


def comparable_error(response: httpx.Response) -> Any:
    """Returns the error without the fields that differ between requests."""
    if not response.content:
        return None
    error = response.json()["error"]
    return {name: value for name, value in error.items() if name != "requestId"}
