"""What real processes answer behind real doors is what openapi.json describes."""

import contextlib
from urllib.parse import urlsplit

import httpx

from tests.e2e.chat import Person
from tests.e2e.tour import tour
from tests.openapi.description import Answer, Description


def test_every_answer_of_a_tour_is_described(person: Person) -> None:
    stack, answers = person.stack, list[httpx.Response]()
    description = Description(person.http.get(f"{stack.gateway}/openapi.json").json())
    person.http.event_hooks["response"].append(answers.append)
    tour(person)
    doors = {urlsplit(stack.url).netloc: "stream", urlsplit(stack.gateway).netloc: "converse"}
    seen = set()
    for each in answers:
        with contextlib.suppress(httpx.StreamError):  # one that was left before its end
            answer = Answer(
                each.status_code, {name.lower(): value for name, value in each.headers.items()}, each.content
            )
            description.check(each.request.method, each.url.path, answer)
            assert answer.headers["x-request-id"]
        found = description.operation(each.request.method, each.url.path)
        assert found
        seen.add((doors[each.url.netloc.decode()], f"{each.request.method} {found[0]}"))
    assert seen == {(function, route) for function, route, _, _ in description.outcomes}
