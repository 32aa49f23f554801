"""The responses of real processes and entry points agree with openapi.json."""

import contextlib
from urllib.parse import urlsplit

import httpx

from tests.e2e.chat import Person
from tests.e2e.tour import tour
from tests.openapi.description import Answer, Description


def test_every_response_of_the_tour_is_described_in_openapi(person: Person) -> None:
    stack, answers = person.stack, list[httpx.Response]()
    description = Description(person.http.get(f"{stack.gateway}/openapi.json").json())
    person.http.event_hooks["response"].append(answers.append)
    tour(person)
    entry_points = {urlsplit(stack.url).netloc: "stream", urlsplit(stack.gateway).netloc: "converse"}
    seen = set()
    for response in answers:
        with contextlib.suppress(httpx.StreamError):  # a response that was not read to its end
            answer = Answer(
                response.status_code,
                {name.lower(): value for name, value in response.headers.items()},
                response.content,
            )
            description.check(response.request.method, response.url.path, answer)
            assert answer.headers["x-request-id"]
        operation = description.operation(response.request.method, response.url.path)
        assert operation
        seen.add((entry_points[response.url.netloc.decode()], f"{response.request.method} {operation[0]}"))
    assert seen == {(function, route) for function, route, _, _ in description.outcomes}
