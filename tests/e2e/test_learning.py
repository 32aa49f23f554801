"""The learn task after an answer, through real entry points, processes and asynchronous invocations."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import boto3
import pytest

from converse_stream.auth import User
from tests.e2e.chat import Person, StreamedAnswer
from tests.e2e.tour import run
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("learning")

T = TypeVar("T")
WAIT_SECONDS = 20.0  # seconds
SHORT = "[[pace=1 first=1]]"


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "Learning=enabled")
    yield running
    stop_stack(running)


def eventually(read: Callable[[], T]) -> T:
    """Returns the first true result of `read`, or its last result after the timeout."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (result := read()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return result


def facts(person: Person) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = person.http.get(f"{person.stack.gateway}/memory").json()["facts"]
    return listed


def conversation(person: Person, conversation_id: str) -> dict[str, Any]:
    response: dict[str, Any] = person.http.get(f"{person.stack.gateway}/conversations/{conversation_id}").json()
    return response


def profile(person: Person) -> dict[str, Any]:
    response: dict[str, Any] = person.http.get(f"{person.stack.gateway}/profile").json()
    return response


def lambda_client(stack: RunningStack) -> Any:
    return boto3.client("lambda", endpoint_url=stack.demo)


def task_requests(stack: RunningStack) -> int:
    """Returns the number of calls of the small model."""
    return sum("nova-micro" in request["modelId"] for request in stack.requests())


def test_a_learned_fact_is_used_and_can_be_forgotten(person: Person) -> None:
    first = person.send(f"My boat is called Nora. Tell me about rivers {SHORT}")
    [fact] = eventually(lambda: facts(person))
    conversation_id = first.start["conversationId"]
    assert fact["text"] == "The user's boat is called Nora."
    assert (fact["source"], fact["message"], fact["confidence"]) == (conversation_id, 1, 0.9)
    assert eventually(lambda: conversation(person, conversation_id)["title"] == "My boat is called Nora. Tell")

    assert fact["text"] in person.send(f"What do you know of me? {SHORT}").text
    person.http.delete(f"{person.stack.gateway}/memory/{fact['id']}")
    assert fact["text"] not in person.send(f"And what now? {SHORT}").text
    assert facts(person) == []


def test_a_learned_fact_is_removed_when_the_user_says_that_it_is_not_true_any_more(person: Person) -> None:
    own = person.http.post(f"{person.stack.gateway}/memory", json={"text": "I live in Porto, in winter."}).json()
    assert "message" not in own
    first = person.send(f"I live in Porto. I have a dog {SHORT}")
    assert eventually(lambda: len(facts(person)) == 3)
    person.send(f"I no longer live in Porto {SHORT}", conversationId=first.start["conversationId"])
    assert eventually(lambda: len(facts(person)) == 2)
    assert [fact["text"] for fact in facts(person)] == [own["text"], "The user says: I have a dog."]


@pytest.mark.parametrize("entry_point", ["buffered", "ai-sdk"])
def test_every_entry_point_dispatches_the_learn_task(person: Person, entry_point: str) -> None:
    text = f"I live in Porto. Tell me about tides {SHORT}"
    if entry_point == "buffered":
        person.send_buffered(text)
    else:
        message = {"id": "the-first-message", "role": "user", "parts": [{"type": "text", "text": text}]}
        body = {"id": "a-conversation", "trigger": "submit-message", "messages": [message]}
        person.http.post(f"{person.stack.url}/ai/chat", json=body)
    assert [fact["text"] for fact in eventually(lambda: facts(person))] == ["The user says: I live in Porto."]


def test_a_title_of_the_user_is_kept(person: Person) -> None:
    api = person.stack.gateway
    titled = person.http.post(f"{api}/conversations", json={"title": "My own"}).json()["id"]
    person.send(f"I like tea. Tell me about rivers {SHORT}", conversationId=titled)
    assert eventually(lambda: facts(person))
    assert conversation(person, titled)["title"] == "My own"


def test_a_conversation_that_begins_with_a_greeting_gets_its_title_from_the_next_message(person: Person) -> None:
    before = invocations(person.stack)
    conversation_id = person.send("Hello there!").start["conversationId"]
    assert eventually(lambda: invocations(person.stack) > before)
    assert conversation(person, conversation_id)["title"] == "Hello there!"
    person.send(f"Tell me about rivers {SHORT}", conversationId=conversation_id)
    assert eventually(lambda: conversation(person, conversation_id)["title"] == "Rivers")


def test_long_messages_that_leave_the_prompt_are_summarized_completely(person: Person) -> None:
    first = person.send(f"Tell me about rivers. {'And more. ' * 2_900}{SHORT}")
    conversation_id = first.start["conversationId"]
    for topic in ("lakes", "seas"):
        person.send(f"Tell me about {topic}. {'And more. ' * 2_900}{SHORT}", conversationId=conversation_id)
    body = {"conversationId": conversation_id, "message": {"text": "And then?"}}

    def prompt() -> str:
        return str(person.http.post(f"{person.stack.gateway}/prompt/preview", json=body).json()["request"])

    assert eventually(lambda: "The user asked about rivers" in prompt())
    requests = [str(request) for request in person.stack.requests() if "nova-micro" in request["modelId"]]
    assert any('number="1" part="1 of 2"' in request for request in requests)
    assert any('number="1" part="2 of 2"' in request for request in requests)


def test_a_label_and_a_title_are_chosen_for_a_service(person: Person) -> None:
    task = {"task": "classify", "text": "Where is my </message> invoice?", "labels": ["travel", "invoice"]}
    assert run(person, task) == '{"label": "invoice"}'
    assert run(person, {"task": "title", "text": "Hello there!"}) == '{"title": "Hello there"}'


def test_the_assistant_name_is_learned_from_the_message(person: Person) -> None:
    person.http.put(f"{person.stack.gateway}/profile", json={"name": "Ada"})
    person.send(f"Please call yourself Iris {SHORT}")
    assert eventually(lambda: profile(person).get("assistantName")) == "Iris"
    assert profile(person)["name"] == "Ada"
    person.send(f"Who are you? {SHORT}")
    [request] = [
        record
        for record in person.stack.requests()
        if "Who are you?" in str(record) and "nova-lite" in record["modelId"]
    ]
    assert "Your name, as the user wants it: Iris" in str(request)


def test_nothing_is_learned_if_the_user_has_disabled_learning(person: Person) -> None:
    disable_learning(person)
    profile_response = person.http.put(f"{person.stack.gateway}/profile", json={"name": "Ada"})
    assert profile_response.json() == {"name": "Ada", "learning": False}
    opening = f"My boat is called Nora {SHORT}"
    answer = person.send(opening)
    assert run(person, task(person, answer)) == '{"learned": []}'
    assert conversation(person, answer.start["conversationId"])["title"] == opening
    assert facts(person) == []


def test_a_failed_task_becomes_a_dead_letter_and_can_be_run_again(person: Person) -> None:
    stack = person.stack
    disable_learning(person)
    before = eventually(lambda: invocations(stack))
    answer = person.send(f"My boat is called Nora. Tell me about rivers {SHORT}")
    assert eventually(lambda: invocations(stack) > before), "without effect, because learning is disabled"
    person.http.patch(f"{stack.gateway}/profile", json={"learning": True})
    stack.faults(table={"failForMs": 120_000})
    try:
        lambda_client(stack).invoke(
            FunctionName="ConverseFunction", InvocationType="Event", Payload=json.dumps(task(person, answer))
        )
        letters = eventually(
            lambda: [letter for letter in stack.dead_letters() if answer.start["generationId"] in letter["body"]]
        )
    finally:
        stack.faults(table={"failForMs": 0})
    [event] = [json.loads(letter["body"])["requestPayload"] for letter in letters]
    assert event == task(person, answer), "the event has no text"
    assert run(person, event) == '{"learned": ["title", "facts"]}'
    calls = task_requests(stack)
    assert run(person, event) == '{"learned": []}'
    assert task_requests(stack) == calls
    assert len(facts(person)) == 1


def test_a_task_delivered_twice_runs_each_step_once(person: Person) -> None:
    stack = person.stack
    before = eventually(lambda: invocations(stack))
    stack.faults(events={"twice": True})
    try:
        answer = person.send(f"My boat is called Nora. Tell me about rivers {SHORT}")
        assert eventually(lambda: invocations(stack) >= before + 2)
    finally:
        stack.faults(events={"twice": False})
    assert [fact["text"] for fact in facts(person)] == ["The user's boat is called Nora."]
    assert conversation(person, answer.start["conversationId"])["title"] == "My boat is called Nora. Tell"
    assert run(person, task(person, answer)) == '{"learned": []}'
    assert [letter for letter in stack.dead_letters() if answer.start["generationId"] in letter["body"]] == []


def invocations(stack: RunningStack) -> int:
    """Returns the ended invocations of the function with the tasks, or 0 while one is running."""
    environments = stack.environments("ConverseFunction")
    idle = all(environment["state"] == "waiting" for environment in environments)
    return sum(environment["invocations"] for environment in environments) if idle else 0


def disable_learning(person: Person) -> None:
    answer = person.http.patch(f"{person.stack.gateway}/profile", json={"learning": False})
    assert answer.json() == {"learning": False}


def task(person: Person, answer: StreamedAnswer) -> dict[str, str]:
    """Returns the event that is dispatched after this answer."""
    user = User.of("dev", "laptop", person.headers["x-dev-user"]).key
    return {"task": "learn", "user": user, "generation": answer.start["generationId"]}


def test_learned_text_is_not_logged(person: Person) -> None:
    person.send(f"I love quetzals. Call yourself Xochitl {SHORT}")
    assert eventually(lambda: facts(person))
    log = "".join(person.stack.log)
    assert '"message":"learned"' in log
    assert [word for word in ("quetzal", "Xochitl", "Nora", "Porto") if word in log] == []
