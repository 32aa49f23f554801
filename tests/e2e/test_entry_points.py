"""Entry points before the functions: their limits, and the paths they forward."""

from collections.abc import Iterator

import pytest

from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

SHORT = "[[tokens=4 pace=1 first=1]]"
SLOW = "Tell me about rivers [[tokens=400 pace=50 first=1]]"


@pytest.mark.parametrize("entry_point", ["gateway", "host"])
def test_an_encoded_question_mark_in_a_conversation_id_is_refused(person: Person, entry_point: str) -> None:
    """An HTTP API decodes it, and would forward the path of the conversation itself."""
    base = getattr(person.stack, entry_point)
    conversation_id = person.send(f"hello {SHORT}").start["conversationId"]
    refused = person.http.delete(f"{base}/conversations/{conversation_id}%3Fx")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
    # An encoded slash is decoded in `rawPath` and in the greedy parameter alike: the function sees the plain path.
    messages = [person.http.get(f"{base}/conversations/{conversation_id}{slash}messages") for slash in ("/", "%2F")]
    assert messages[0].json() == messages[1].json()
    assert person.http.post(f"{base}/chat/{conversation_id}%2Fx/cancel", json={}).status_code == 400
    assert person.http.get(f"{base}/conversations/{conversation_id}").status_code == 200
    encoded = "".join(f"%{ord(letter):02X}" for letter in conversation_id)
    assert person.http.get(f"{base}/conversations/{encoded}").json()["id"] == conversation_id


@pytest.mark.parametrize("entry_point", ["gateway", "host"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/unknown"),
        ("GET", "/conversations/a/unknown"),
        ("DELETE", "/conversations"),
        ("PUT", "/memory/a"),
        ("GET", "/chat/a/cancel"),
    ],
)
def test_the_function_answers_unknown_paths_with_404(person: Person, entry_point: str, method: str, path: str) -> None:
    answer = person.http.request(method, f"{getattr(person.stack, entry_point)}{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("entry_point", ["gateway", "host"])
def test_ids_that_look_like_file_names_reach_the_api(person: Person, entry_point: str) -> None:
    """The paths look like files of the web page."""
    for path in ("/conversations/page.js", "/conversations/page.js/messages"):
        answer = person.http.get(getattr(person.stack, entry_point) + path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_long_token_and_key_are_accepted_by_every_entry_point(person: Person) -> None:
    """7 KB of tokens and keys, and the other headers of a browser. The auth mode dev ignores tokens."""
    browser_headers = {"user-agent": "x" * 200, "accept": "x" * 100, "origin": person.stack.demo, "cookie": "x" * 200}
    headers = {"authorization": f"Bearer {'x' * 3065}", "x-bedrock-api-key": "k" * 4096, **browser_headers}
    for base in (person.stack.host, person.stack.gateway, person.stack.rest, person.stack.url):
        answer = person.http.post(f"{base}/chat", json={"message": {"text": f"hello {SHORT}"}}, headers=headers)
        assert answer.status_code == 200, (base, answer.text)


@pytest.mark.parametrize("header", ["authorization", "x-authorization"])
def test_a_token_and_a_key_over_the_limit_are_refused_by_every_entry_point(person: Person, header: str) -> None:
    headers = {header: f"Bearer {'x' * 3073}", "x-bedrock-api-key": "k" * 4096}
    for base in (person.stack.host, person.stack.gateway, person.stack.rest, person.stack.url):
        answer = person.http.post(f"{base}/chat", json={"message": {"text": "hello"}}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "x-bedrock-api-key")


@pytest.mark.parametrize(
    ("entry_point", "size", "status"),
    [("gateway", 10_240, 431), ("rest", 10_240, 431), ("host", 20_480, 413), ("gateway", 9_500, 200)],
)
def test_an_entry_point_limits_the_size_of_headers(person: Person, entry_point: str, size: int, status: int) -> None:
    url = f"{getattr(person.stack, entry_point)}/health"
    assert person.http.get(url, headers={"x-long": "x" * size}).status_code == status


@pytest.fixture
def small() -> Iterator[RunningStack]:
    """A stack whose account concurrency is used by two streams."""
    running = start_stack("--concurrency", "2")
    yield running
    stop_stack(running)


@pytest.fixture
def reserved() -> Iterator[RunningStack]:
    """A stack with a reserved concurrency of one stream, so the rest is for the other function."""
    running = start_stack("--concurrency", "101", "--parameter", "StreamConcurrency=1")
    yield running
    stop_stack(running)


def test_streams_that_use_the_account_concurrency_throttle_cancellation(small: RunningStack) -> None:
    with Person(small) as person, Person(small) as other:
        running = person.send_and_disconnect(SLOW, 2), other.send_and_disconnect(SLOW, 2)
        refused = person.cancel(running[0].start["conversationId"])
        assert (refused.status_code, refused.json()) == (503, {"message": "Service Unavailable"})
        assert other.http.get(f"{small.host}/conversations").status_code == 503


def test_cancellation_works_if_streams_have_reserved_concurrency(reserved: RunningStack) -> None:
    with Person(reserved) as person:
        running = person.send_and_disconnect(SLOW, 2)
        assert person.http.post(f"{reserved.url}/chat", json={"message": {"text": "hello"}}).status_code == 429
        assert person.cancel(running.start["conversationId"]).status_code == 202


@pytest.fixture
def throttled() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "GatewayRequestsPerSecond=1", "--parameter", "GatewayBurst=3")
    yield running
    stop_stack(running)


def test_the_stage_throttles_all_routes_except_health_and_cancellation(throttled: RunningStack) -> None:
    with Person(throttled) as person:
        running = person.send_and_disconnect(SLOW, 2)
        listed = [person.http.get(f"{throttled.gateway}/conversations") for _ in range(8)]
        refused = [answer for answer in listed if answer.status_code == 429]
        assert len(refused) >= 4
        assert refused[-1].json() == {"message": "Too Many Requests"}
        assert person.http.get(f"{throttled.gateway}/health").status_code == 200
        assert person.cancel(running.start["conversationId"]).status_code == 202
        rest = [person.http.get(f"{throttled.rest}/health").status_code for _ in range(8)]
        assert rest.count(429) >= 4


def test_an_error_of_one_user_is_not_cached_for_another(stack: RunningStack) -> None:
    with Person(stack) as one, Person(stack) as other:
        url = f"{stack.host}/conversations"
        assert other.http.get(url).status_code == 200
        stack.faults(table={"failForMs": 60_000})
        try:
            failed = one.http.get(url)
        finally:
            stack.faults(table={"failForMs": 0})
        assert (failed.status_code, other.http.get(url).status_code) == (503, 200)
