"""What is learned after an answer: through real doors, processes and Lambda's asynchronous invocations."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import boto3
import pytest

from converse_stream.auth import User
from tests.e2e.chat import Person, Streamed
from tests.e2e.tour import run
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("learning")

T = TypeVar("T")
PATIENCE = 20.0  # seconds
BRIEF = "[[pace=1 first=1]]"


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "Learning=enabled")
    yield running
    stop_stack(running)


def eventually(look: Callable[[], T]) -> T:
    """What is found within patience, or the last nothing."""
    give_up = time.monotonic() + PATIENCE
    while not (found := look()) and time.monotonic() < give_up:
        time.sleep(0.1)
    return found


def facts(person: Person) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = person.http.get(f"{person.stack.gateway}/memory").json()["facts"]
    return listed


def conversation(person: Person, conversation_id: str) -> dict[str, Any]:
    known: dict[str, Any] = person.http.get(f"{person.stack.gateway}/conversations/{conversation_id}").json()
    return known


def profile(person: Person) -> dict[str, Any]:
    known: dict[str, Any] = person.http.get(f"{person.stack.gateway}/profile").json()
    return known


def lambda_client(stack: RunningStack) -> Any:
    return boto3.client("lambda", endpoint_url=stack.demo)


def task_requests(stack: RunningStack) -> int:
    """How often the small model was asked."""
    return sum("nova-micro" in request["modelId"] for request in stack.requests())


def test_a_learned_fact_is_used_named_and_forgotten(person: Person) -> None:
    first = person.say(f"My boat is called Nora. Tell me about rivers {BRIEF}")
    [fact] = eventually(lambda: facts(person))
    known = first.start["conversationId"]
    assert (fact["text"], fact["source"], fact["confidence"]) == ("The user's boat is called Nora.", known, 0.9)
    assert eventually(lambda: conversation(person, known)["title"] == "My boat is called Nora. Tell")

    assert fact["text"] in person.say(f"What do you know of me? {BRIEF}").text
    person.http.delete(f"{person.stack.gateway}/memory/{fact['id']}")
    assert fact["text"] not in person.say(f"And what now? {BRIEF}").text
    assert facts(person) == []


@pytest.mark.parametrize("door", ["in one piece", "ai-sdk"])
def test_every_door_hands_over(person: Person, door: str) -> None:
    text = f"I live in Porto. Tell me about tides {BRIEF}"
    if door == "in one piece":
        person.ask(text)
    else:
        message = {"id": "the-first-message", "role": "user", "parts": [{"type": "text", "text": text}]}
        body = {"id": "a-conversation", "trigger": "submit-message", "messages": [message]}
        person.http.post(f"{person.stack.url}/ai/chat", json=body)
    assert [fact["text"] for fact in eventually(lambda: facts(person))] == ["The user says: I live in Porto."]


def test_a_title_of_the_users_own_stays(person: Person) -> None:
    api = person.stack.gateway
    own = person.http.post(f"{api}/conversations", json={"title": "My own"}).json()["id"]
    person.say(f"I like tea. Tell me about rivers {BRIEF}", conversationId=own)
    assert eventually(lambda: facts(person))
    assert conversation(person, own)["title"] == "My own"


def test_the_assistant_takes_the_name_that_it_is_given(person: Person) -> None:
    person.http.put(f"{person.stack.gateway}/profile", json={"name": "Ada"})
    person.say(f"Please call yourself Iris {BRIEF}")
    assert eventually(lambda: profile(person).get("assistantName")) == "Iris"
    assert profile(person)["name"] == "Ada"
    person.say(f"Who are you? {BRIEF}")
    [asked] = [
        each for each in person.stack.requests() if "Who are you?" in str(each) and "nova-lite" in each["modelId"]
    ]
    assert "Your name, as the user wants it: Iris" in str(asked)


def test_nothing_is_learned_of_who_does_not_want_it(person: Person) -> None:
    not_wanted(person)
    answer = person.http.put(f"{person.stack.gateway}/profile", json={"name": "Ada"})
    assert answer.json() == {"name": "Ada", "learning": False}
    opening = f"My boat is called Nora {BRIEF}"
    said = person.say(opening)
    assert run(person, task(person, said)) == '{"learned": []}'
    assert conversation(person, said.start["conversationId"])["title"] == opening
    assert facts(person) == []


def test_a_failed_task_is_among_the_dead_letters_and_is_run_again_once(person: Person) -> None:
    stack = person.stack
    not_wanted(person)
    before = eventually(lambda: invocations(stack))
    said = person.say(f"My boat is called Nora. Tell me about rivers {BRIEF}")
    assert eventually(lambda: invocations(stack) > before), "in vain, because it is not wanted"
    person.http.patch(f"{stack.gateway}/profile", json={"learning": True})
    stack.faults(table={"failForMs": 120_000})
    try:
        lambda_client(stack).invoke(
            FunctionName="ConverseFunction", InvocationType="Event", Payload=json.dumps(task(person, said))
        )
        letters = eventually(
            lambda: [each for each in stack.dead_letters() if said.start["generationId"] in each["body"]]
        )
    finally:
        stack.faults(table={"failForMs": 0})
    [event] = [json.loads(letter["body"])["requestPayload"] for letter in letters]
    assert event == task(person, said), "the event, without any text"
    assert run(person, event) == '{"learned": ["title", "facts"]}'
    asked = task_requests(stack)
    assert run(person, event) == '{"learned": []}'
    assert task_requests(stack) == asked
    assert len(facts(person)) == 1


def test_a_task_that_is_delivered_twice_does_nothing_twice(person: Person) -> None:
    stack = person.stack
    before = eventually(lambda: invocations(stack))
    stack.faults(events={"twice": True})
    try:
        said = person.say(f"My boat is called Nora. Tell me about rivers {BRIEF}")
        assert eventually(lambda: invocations(stack) >= before + 2)
    finally:
        stack.faults(events={"twice": False})
    assert [fact["text"] for fact in facts(person)] == ["The user's boat is called Nora."]
    assert conversation(person, said.start["conversationId"])["title"] == "My boat is called Nora. Tell"
    assert run(person, task(person, said)) == '{"learned": []}'
    assert [each for each in stack.dead_letters() if said.start["generationId"] in each["body"]] == []


def invocations(stack: RunningStack) -> int:
    """Those of the function with the tasks that have ended; none while one runs."""
    environments = stack.environments("ConverseFunction")
    idle = all(each["state"] == "waiting" for each in environments)
    return sum(each["invocations"] for each in environments) if idle else 0


def not_wanted(person: Person) -> None:
    answer = person.http.patch(f"{person.stack.gateway}/profile", json={"learning": False})
    assert answer.json() == {"learning": False}


def task(person: Person, said: Streamed) -> dict[str, str]:
    """The event that is handed over after this answer."""
    user = User.of("dev", "laptop", person.headers["x-dev-user"]).key
    return {"task": "learn", "user": user, "generation": said.start["generationId"]}


def test_nothing_of_it_is_in_a_log(person: Person) -> None:
    person.say(f"I love quetzals. Call yourself Xochitl {BRIEF}")
    assert eventually(lambda: facts(person))
    log = "".join(person.stack.log)
    assert '"message":"learned"' in log
    assert [word for word in ("quetzal", "Xochitl", "Nora", "Porto") if word in log] == []
