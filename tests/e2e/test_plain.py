"""The plain dialect, read by a simple reader that splits at blank lines and does not know comments."""

import json

import pytest

from tests.e2e.chat import Person, text_of


def read(person: Person, text: str) -> tuple[str, list[str]]:
    """Returns the text and the errors that such a reader receives."""
    text_read, rest = "", ""
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
                    return text_read, errors
                data = json.loads(block.removeprefix("data: "))
                text_read += data.get("content", "")
                errors += [data["error"]] if "error" in data else []
    raise AssertionError("the answer has no end")


@pytest.mark.parametrize("pace", [1, 150])  # 150 ms: a heartbeat after every token
def test_the_plain_dialect_has_the_stored_text(person: Person, pace: int) -> None:
    text_read, errors = read(person, f"[[tokens=12 pace={pace} first=150]] rivers")
    [conversation] = person.conversations()
    assert text_read == text_of(person.messages(conversation["id"])[-1])
    assert len(text_read) > 20
    assert errors == []


def test_an_error_follows_the_received_text(person: Person) -> None:
    text_read, errors = read(person, "[[tokens=12 pace=1 first=1 fault=reset at=6]] rivers")
    assert text_read
    assert errors == ["The connection to the model was lost."]


def test_an_unknown_dialect_is_refused_and_nothing_is_stored(person: Person) -> None:
    url = f"{person.stack.url}/chat?dialect=klingon"
    refused = person.http.post(url, json={"message": {"text": "rivers"}})
    assert refused.status_code == 400
    assert refused.json()["error"]["field"] == "dialect"
    assert person.conversations() == []
