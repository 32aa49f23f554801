"""`DELETE /me` through the doors, with a table of the test's own to look into."""

import os
from collections.abc import Iterator

import boto3
import pytest

from chat.auth import User
from local_stack.dynamodb import DynamoDB
from tests.e2e.chat import Person
from tests.stack import start_stack, stop_stack

SLOW = "[[tokens=400 pace=50 first=1]]"


@pytest.fixture
def people(table: DynamoDB) -> Iterator[tuple[Person, Person]]:
    stack = start_stack(env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url})
    try:
        with Person(stack) as alice, Person(stack) as bob:
            yield alice, bob
    finally:
        stop_stack(stack)


def items(table: DynamoDB, person: Person) -> set[tuple[str, str]]:
    key = User.of("dev", "laptop", person.headers["x-dev-user"]).key
    pages = boto3.client("dynamodb", endpoint_url=table.url).get_paginator("scan").paginate(TableName="ChatTable")
    found = [item for page in pages for item in page["Items"] if key in str(item)]
    return {(item["pk"]["S"].removeprefix(f"U#{key}"), item["sk"]["S"]) for item in found}


def test_nothing_is_left_of_who_erases_themselves_in_the_middle_of_an_answer(
    people: tuple[Person, Person], table: DynamoDB
) -> None:
    alice, bob = people
    for person in people:
        person.say("Tell me about rivers [[tokens=4 pace=1 first=1]]")
        person.remember("my dog is called Rex")
    running = alice.leave(SLOW, 3)
    before = items(table, bob)
    assert alice.http.delete(f"{alice.stack.gateway}/me").status_code == 204
    assert {pk for pk, _ in items(table, alice)} == {"#R"}, "what they have used of their limits"
    assert (alice.conversations(), alice.http.get(f"{alice.stack.gateway}/memory").json()) == ([], {"facts": []})
    url = f"{alice.stack.url}/chat/{running.start['conversationId']}/stream"
    assert alice.http.get(url, headers={"last-event-id": running.cursor}).status_code == 404
    assert alice.stack.requests()[-1]["state"] == "client-closed", "nobody pays for the rest"
    assert items(table, bob) == before
    assert alice.say("hello again [[tokens=4 pace=1 first=1]]").kinds[-1] == "complete"
