"""Every route that names something, asked by everybody it does not belong to: nothing is there."""

from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person
from tests.routes import converse_routes, stream_routes

QUICK = "[[tokens=3 pace=1 first=1]]"
BODIES: dict[str, Any] = {"PATCH": {"title": "mine"}, "POST": {}}


def routes() -> list[tuple[str, str, str]]:
    """Entry point, method and path of every route with something named in it."""
    declared = {"url": stream_routes(), "gateway": converse_routes()}
    named = [(door, *route.partition(" ")) for door, routes in declared.items() for route in sorted(routes)]
    return [(door, method, path) for door, method, _, path in named if "{}" in path]


ROUTES = [route for route in routes() if "/v1/models/" not in route[2]]  # models are everybody's


def ask(person: Person, door: str, method: str, path: str) -> httpx.Response:
    body = {"json": BODIES[method]} if method in BODIES else {}
    return person.http.request(method, f"{getattr(person.stack, door)}{path}", **body)


def test_there_are_as_many_as_we_know_of() -> None:
    assert len(ROUTES) >= 11


@pytest.mark.parametrize(("door", "method", "path"), ROUTES)
def test_a_stranger_finds_nothing(person: Person, other: Person, door: str, method: str, path: str) -> None:
    conversation = "named-by-alice"
    person.say(QUICK, conversationId=conversation)
    fact = person.remember("my dog is called Rex")["id"]
    theirs = fact if path.startswith("/memory") else conversation
    before = (person.messages(conversation), person.http.get(f"{person.stack.gateway}/memory").json())
    with Person(person.stack) as third:
        for stranger in (other, third):
            found = ask(stranger, door, method, path.replace("{}", theirs))
            nothing = ask(stranger, door, method, path.replace("{}", "nobodys-thing"))
            # useChat asks for a stream before there is a conversation, so there the answer is 204 for both.
            assert found.status_code == (204 if (method, path) == ("GET", "/ai/chat/{}/stream") else 404)
            assert (found.status_code, strip(found)) == (nothing.status_code, strip(nothing)), "the same for both"
    assert before == (person.messages(conversation), person.http.get(f"{person.stack.gateway}/memory").json())


def strip(response: httpx.Response) -> Any:
    """The answer without what differs between any two."""
    if not response.content:
        return None
    error = response.json()["error"]
    return {name: value for name, value in error.items() if name != "requestId"}
