"""Flags through the doors, from a file."""

import json
from collections.abc import Iterator

import pytest

from converse_stream.auth import User
from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("flags")  # one stack for all

OFF = ("streaming", "memory", "tools")


def key(person: Person) -> str:
    return User.of("dev", "laptop", person.headers["x-dev-user"]).key


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Somebody has everything switched off, and another model."""
    path = tmp_path_factory.mktemp("flags") / "flags.json"
    nobody = User.of("dev", "laptop", "switched-off").key
    condition = {"action": "EQUALS", "key": "user", "value": nobody}
    flags = {
        name: {"default": True, "rules": {"them": {"when_match": False, "conditions": [condition]}}} for name in OFF
    }
    chosen = {"them": {"when_match": "nova-pro", "conditions": [condition]}}
    path.write_text(json.dumps({**flags, "responder": {"default": "", "boolean_type": False, "rules": chosen}}))
    running = start_stack("--flags", str(path))
    yield running
    stop_stack(running)


@pytest.fixture
def switched_off(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as chat_user:
        chat_user.headers["x-dev-user"] = chat_user.http.headers["x-dev-user"] = "switched-off"
        yield chat_user


def test_flags_are_a_users_own(person: Person, switched_off: Person) -> None:
    for each in (person, switched_off):
        each.remember(f"A fact of {key(each)}")
        answer = each.say(f"Rivers of {key(each)} [[tokens=4 pace=1 first=1]]")
        assert answer.end["type"] == "complete"
        assert answer.start["model"] == ("nova-lite" if each is person else "nova-pro")
        shown = each.http.post(f"{each.stack.gateway}/prompt/preview", json={"message": {"text": "Hello"}}).json()
        assert shown["operation"] == ("ConverseStream" if each is person else "Converse")
    asked = {
        who: next(r for r in person.stack.requests() if f"Rivers of {key(who)}" in str(r))
        for who in (person, switched_off)
    }
    assert asked[person]["path"].endswith("/converse-stream")
    assert asked[switched_off]["path"].endswith("/converse")
    assert f"A fact of {key(person)}" in str(asked[person])
    assert "<facts>\n" not in str(asked[switched_off]["body"]["messages"])


@pytest.mark.parametrize("off", [False, True])
def test_tools(person: Person, switched_off: Person, *, off: bool) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    asked = {"model": "nova-lite", "messages": [{"role": "user", "content": "[[tokens=2 pace=1 first=1]]"}]}
    who = switched_off if off else person
    answer = who.http.post(f"{who.stack.url}/v1/chat/completions", json={**asked, "tools": [tool]})
    assert answer.status_code == (400 if off else 200)
    assert not off or answer.json()["error"]["param"] == "tools"
