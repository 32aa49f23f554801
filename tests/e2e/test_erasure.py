"""`DELETE /me` through the doors, with a table of the test's own to look into."""

import os
import time
from collections.abc import Iterator

import boto3
import pytest

from converse_stream.auth import User
from local_stack.dynamodb.server import DynamoDB
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


@pytest.mark.parametrize("look", ["GET", "PATCH", "DELETE"])
def test_a_deletion_that_broke_off_goes_on_when_somebody_looks(
    people: tuple[Person, Person], table: DynamoDB, look: str
) -> None:
    """The environment died after the mark: the rest is a task of whoever looks next."""
    alice, _ = people
    conversation = alice.say("Tell me about rivers [[tokens=4 pace=1 first=1]]").start["conversationId"]
    key = User.of("dev", "laptop", alice.headers["x-dev-user"]).key
    boto3.client("dynamodb", endpoint_url=table.url).update_item(
        TableName="ChatTable",
        Key={"pk": {"S": f"U#{key}#C#{conversation}"}, "sk": {"S": "~META"}},
        UpdateExpression="SET deleted = :true, gsi1pk = :deleted",
        ExpressionAttributeValues={":true": {"BOOL": True}, ":deleted": {"S": f"U#{key}#D"}},
    )
    url = f"{alice.stack.gateway}/conversations/{conversation}"
    body = {"title": "a title"} if look == "PATCH" else None
    assert alice.http.request(look, url, json=body).status_code == (204 if look == "DELETE" else 404)
    give_up = time.monotonic() + 20
    left = {(f"#C#{conversation}", "~META")}
    while (found := {each for each in items(table, alice) if "#C#" in each[0]}) != left and time.monotonic() < give_up:
        time.sleep(0.2)
    assert found == left


@pytest.mark.parametrize(
    ("entry_point", "route", "body"),
    [
        ("gateway", "conversations", {}),
        ("gateway", "chat", {"message": {"text": "hello again"}}),
        ("url", "chat", {"message": {"text": "hello again"}}),
    ],
)
def test_an_erasure_that_broke_off_goes_on_when_the_user_begins_again(
    people: tuple[Person, Person], table: DynamoDB, entry_point: str, route: str, body: dict[str, object]
) -> None:
    """The environment died after the mark, and no task was started."""
    alice, _ = people
    alice.say("Tell me about rivers [[tokens=4 pace=1 first=1]]")
    key = User.of("dev", "laptop", alice.headers["x-dev-user"]).key
    boto3.client("dynamodb", endpoint_url=table.url).update_item(
        TableName="ChatTable",
        Key={"pk": {"S": f"U#{key}#F"}, "sk": {"S": "P"}},
        UpdateExpression="SET erasing = :since",
        ExpressionAttributeValues={":since": {"S": "2026-11-30T12:00:00.000Z"}},
    )
    answer = alice.http.post(f"{getattr(alice.stack, entry_point)}/{route}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "being_erased")
    give_up = time.monotonic() + 20
    while (found := {pk for pk, _ in items(table, alice)}) != {"#R"} and time.monotonic() < give_up:
        time.sleep(0.2)
    assert found == {"#R"}
    assert alice.say("hello again [[tokens=4 pace=1 first=1]]").kinds[-1] == "complete"
