"""Feature flags from a file, through the entry points."""

import json
from collections.abc import Iterator

import pytest

from converse_stream.auth import User
from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("flags")  # one stack for all tests

OFF = ("streaming", "memory", "tools")


def key(person: Person) -> str:
    return User.of("dev", "laptop", person.headers["x-dev-user"]).key


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack in which one user has all flags off, and another model."""
    path = tmp_path_factory.mktemp("flags") / "flags.json"
    switched_off_user = User.of("dev", "laptop", "switched-off").key
    condition = {"action": "EQUALS", "key": "user", "value": switched_off_user}
    flags = {
        name: {"default": True, "rules": {"switched-off-user": {"when_match": False, "conditions": [condition]}}}
        for name in OFF
    }
    chosen = {"switched-off-user": {"when_match": "nova-pro", "conditions": [condition]}}
    path.write_text(json.dumps({**flags, "responder": {"default": "", "boolean_type": False, "rules": chosen}}))
    running = start_stack("--flags", str(path))
    yield running
    stop_stack(running)


@pytest.fixture
def switched_off(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as chat_user:
        chat_user.headers["x-dev-user"] = chat_user.http.headers["x-dev-user"] = "switched-off"
        yield chat_user


def test_flags_apply_per_user(person: Person, switched_off: Person) -> None:
    for user in (person, switched_off):
        user.remember(f"A fact of {key(user)}")
        answer = user.send(f"Rivers of {key(user)} [[tokens=4 pace=1 first=1]]")
        assert answer.end["type"] == "complete"
        assert answer.start["model"] == ("nova-lite" if user is person else "nova-pro")
        shown = user.http.post(f"{user.stack.gateway}/prompt/preview", json={"message": {"text": "Hello"}}).json()
        assert shown["operation"] == ("ConverseStream" if user is person else "Converse")
    requests = {
        user: next(r for r in person.stack.requests() if f"Rivers of {key(user)}" in str(r))
        for user in (person, switched_off)
    }
    assert requests[person]["path"].endswith("/converse-stream")
    assert requests[switched_off]["path"].endswith("/converse")
    assert f"A fact of {key(person)}" in str(requests[person])
    assert "<facts-" not in str(requests[switched_off]["body"]["messages"])


@pytest.mark.parametrize("off", [False, True])
def test_the_tools_flag_refuses_tools_per_user(person: Person, switched_off: Person, *, off: bool) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    completion_request = {
        "model": "nova-lite",
        "messages": [{"role": "user", "content": "[[tokens=2 pace=1 first=1]]"}],
    }
    user = switched_off if off else person
    answer = user.http.post(f"{user.stack.url}/v1/chat/completions", json={**completion_request, "tools": [tool]})
    assert answer.status_code == (400 if off else 200)
    assert not off or answer.json()["error"]["param"] == "tools"
