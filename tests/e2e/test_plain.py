"""The plain dialect, read as front ends of that shape read: split at blank lines, nothing known of comments."""

import json

import pytest

from tests.e2e.chat import Person, text_of


def read(person: Person, text: str) -> tuple[str, list[str]]:
    """What such a reader shows, and the errors among it."""
    said, rest = "", ""
    errors: list[str] = []
    url, body = f"{person.stack.url}/chat?dialect=plain", {"message": {"text": text}}
    with person.http.stream("POST", url, json=body) as response:
        assert response.status_code == 200
        for piece in response.iter_text():
            *blocks, rest = (rest + piece).split("\n\n")
            for block in blocks:
                if not block.startswith("data: "):
                    continue
                if block == "data: [DONE]":
                    return said, errors
                data = json.loads(block.removeprefix("data: "))
                said += data.get("content", "")
                errors += [data["error"]] if "error" in data else []
    raise AssertionError("the answer has no end")


@pytest.mark.parametrize("pace", [1, 150])  # 150 ms: a nudge after every token
def test_the_text_is_the_stored_one(person: Person, pace: int) -> None:
    said, errors = read(person, f"[[tokens=12 pace={pace} first=150]] rivers")
    [conversation] = person.conversations()
    assert said == text_of(person.messages(conversation["id"])[-1])
    assert len(said) > 20
    assert errors == []


def test_an_error_is_told_and_what_came_before_it_is_kept(person: Person) -> None:
    said, errors = read(person, "[[tokens=12 pace=1 first=1 fault=reset at=6]] rivers")
    assert said
    assert errors == ["The connection to the model was lost."]


def test_an_unknown_dialect_is_refused_and_nothing_is_stored(person: Person) -> None:
    url = f"{person.stack.url}/chat?dialect=klingon"
    refused = person.http.post(url, json={"message": {"text": "rivers"}})
    assert refused.status_code == 400
    assert refused.json()["error"]["field"] == "dialect"
    assert person.conversations() == []
