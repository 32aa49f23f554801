"""`DELETE /me` through the entry points, with a table that the tests read."""

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
    matching = [item for page in pages for item in page["Items"] if key in str(item)]
    return {(item["pk"]["S"].removeprefix(f"U#{key}"), item["sk"]["S"]) for item in matching}


def test_an_erasure_during_an_answer_removes_everything_except_the_usage(
    people: tuple[Person, Person], table: DynamoDB
) -> None:
    alice, bob = people
    for person in people:
        person.send("Tell me about rivers [[tokens=4 pace=1 first=1]]")
        person.remember("my dog is called Rex")
    running = alice.send_and_disconnect(SLOW, 3)
    before = items(table, bob)
    assert alice.http.delete(f"{alice.stack.gateway}/me").status_code == 204
    assert {pk for pk, _ in items(table, alice)} == {"#R"}, "the usage"
    assert (alice.conversations(), alice.http.get(f"{alice.stack.gateway}/memory").json()) == ([], {"facts": []})
    url = f"{alice.stack.url}/chat/{running.start['conversationId']}/stream"
    assert alice.http.get(url, headers={"last-event-id": running.cursor}).status_code == 404
    assert alice.stack.requests()[-1]["state"] == "client-closed", "the model call is cancelled"
    assert items(table, bob) == before
    assert alice.send("hello again [[tokens=4 pace=1 first=1]]").kinds[-1] == "complete"


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unfinished_deletion_continues_at_the_next_request(
    people: tuple[Person, Person], table: DynamoDB, method: str
) -> None:
    """The environment died after it stored the mark. The next request starts a task for the rest."""
    alice, _ = people
    conversation = alice.send("Tell me about rivers [[tokens=4 pace=1 first=1]]").start["conversationId"]
    key = User.of("dev", "laptop", alice.headers["x-dev-user"]).key
    boto3.client("dynamodb", endpoint_url=table.url).update_item(
        TableName="ChatTable",
        Key={"pk": {"S": f"U#{key}#C#{conversation}"}, "sk": {"S": "~META"}},
        UpdateExpression="SET deleted = :true, gsi1pk = :deleted",
        ExpressionAttributeValues={":true": {"BOOL": True}, ":deleted": {"S": f"U#{key}#D"}},
    )
    url = f"{alice.stack.gateway}/conversations/{conversation}"
    body = {"title": "a title"} if method == "PATCH" else None
    assert alice.http.request(method, url, json=body).status_code == (204 if method == "DELETE" else 404)
    deadline = time.monotonic() + 20
    expected = {(f"#C#{conversation}", "~META")}
    while (
        remaining := {key for key in items(table, alice) if "#C#" in key[0]}
    ) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert remaining == expected


@pytest.mark.parametrize(
    ("entry_point", "route", "body"),
    [
        ("gateway", "conversations", {}),
        ("gateway", "chat", {"message": {"text": "hello again"}}),
        ("url", "chat", {"message": {"text": "hello again"}}),
    ],
)
def test_an_unfinished_erasure_continues_at_the_next_message(
    people: tuple[Person, Person], table: DynamoDB, entry_point: str, route: str, body: dict[str, object]
) -> None:
    """The environment died after it stored the mark, before it started a task."""
    alice, _ = people
    alice.send("Tell me about rivers [[tokens=4 pace=1 first=1]]")
    key = User.of("dev", "laptop", alice.headers["x-dev-user"]).key
    boto3.client("dynamodb", endpoint_url=table.url).update_item(
        TableName="ChatTable",
        Key={"pk": {"S": f"U#{key}#F"}, "sk": {"S": "P"}},
        UpdateExpression="SET erasing = :since",
        ExpressionAttributeValues={":since": {"S": "2026-11-30T12:00:00.000Z"}},
    )
    answer = alice.http.post(f"{getattr(alice.stack, entry_point)}/{route}", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "being_erased")
    deadline = time.monotonic() + 20
    while (remaining := {pk for pk, _ in items(table, alice)}) != {"#R"} and time.monotonic() < deadline:
        time.sleep(0.2)
    assert remaining == {"#R"}
    assert alice.send("hello again [[tokens=4 pace=1 first=1]]").kinds[-1] == "complete"
