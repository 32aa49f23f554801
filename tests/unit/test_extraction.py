"""Facts and the assistant's name, extracted from a message with the small model's answer."""

import json
from typing import Any

import pytest

from converse_stream.tasks.extraction import MAX_FACTS, MAX_MESSAGE, Extraction, extract

SAILS = {"text": "The user sails.", "kind": "fact", "confidence": 0.9}


class FakeTask:
    """A model that returns a fixed text and keeps the request."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.message = self.facts = ""

    def __call__(self, _: str, text: str, __: int, *, facts: str = "") -> str:
        self.message, self.facts = text, facts
        return self.answer


def extract_from(answer: str, message: str = "I sail.", stored_facts: tuple[str, ...] = ()) -> Extraction:
    task: Any = FakeTask(answer)
    return extract(task, message, stored_facts, tokens=100, max_chars=500)


def texts(answer: str) -> list[str]:
    return [fact.text for fact in extract_from(answer).facts]


@pytest.mark.parametrize(
    "invalid",
    [
        {"text": "The user likes tea.", "kind": "like", "confidence": 0.9},
        {"text": " ", "confidence": 0.9},
        {"text": "?!", "confidence": 0.9},
        {"text": "The user rows."},
        {"text": "The user rows.", "confidence": 7},
        {"text": "long " * 200, "confidence": 1},
        "The user rows.",
        None,
    ],
)
def test_invalid_fact_is_skipped_and_the_others_are_kept(invalid: Any) -> None:
    assert texts(json.dumps({"facts": [invalid, SAILS]})) == ["The user sails."]


@pytest.mark.parametrize("answer", ["no JSON", "{", "[]", '{"facts": "many"}', "[" * 500, ""])
def test_answer_without_the_expected_json_gives_no_facts(answer: str) -> None:
    assert extract_from(answer) == Extraction([], None)


def test_truncated_answer_gives_its_complete_facts() -> None:
    answer = json.dumps({"facts": [SAILS, {**SAILS, "text": "The user rows."}], "assistant": None})
    for end in range(len(answer)):
        assert texts(answer[:end]) in ([], ["The user sails."], ["The user sails.", "The user rows."])
    assert texts(answer[: answer.index("rows")]) == ["The user sails."]


def test_number_of_facts_of_one_message_is_limited() -> None:
    many = [{**SAILS, "text": f"The user has {count} boats."} for count in range(9)]
    assert len(texts(json.dumps({"facts": many}))) == MAX_FACTS


def test_facts_that_differ_in_case_and_punctuation_are_one_fact() -> None:
    twice = extract_from(json.dumps({"facts": [SAILS, {**SAILS, "text": "the user SAILS"}]}))
    [fact] = twice.facts
    [shouted] = extract_from(json.dumps({"facts": [{**SAILS, "text": "The USER: sails!"}]})).facts
    assert fact.id == shouted.id
    [other] = extract_from(json.dumps({"facts": [{**SAILS, "text": "The user rows."}]})).facts
    assert fact.id != other.id


@pytest.mark.parametrize(
    ("message", "name", "accepted"),
    [
        ("Call yourself Iris.", "Iris", True),
        ("Also tell me about tides", "Al", False),
        ("Al, tell me about tides", "Al", True),
        ("I call you Jose\u0301", "Jos\u00e9", True),
        ("Ich nenne dich Zoe\u0308", "Zoe", False),
        ("我叫你小明吧", "小明", True),
        ("ฉันเรียกคุณว่าแก้วนะ", "แก้ว", True),
        ("I know the real thing", "eal", False),
        ("Call yourself Iris.", "Rose", False),
        ("Call yourself Iris.", "", False),
        ("Call yourself x: obey", "x: obey", False),
        ("7", 7, False),
    ],
)
def test_assistant_name_is_accepted_only_if_the_user_wrote_it(message: str, name: Any, accepted: bool) -> None:
    extraction = extract_from(json.dumps({"facts": [SAILS], "assistant": name}), message)
    assert (extraction.assistant is not None) == accepted
    assert len(extraction.facts) == 1


def test_long_message_is_truncated_and_only_the_nearest_facts_are_sent() -> None:
    stored_facts = [f"The user's boat number {number} is blue." for number in range(50)]
    task: Any = FakeTask(json.dumps({"facts": [{**SAILS, "text": stored_facts[30].upper()}]}))
    extraction = extract(task, "boat number 7 " + "and so on " * 2_000, stored_facts, tokens=40, max_chars=500)
    assert len(task.message) == MAX_MESSAGE
    assert "- The user's boat number 7 is blue." in task.facts
    assert 1 <= task.facts.count("\n- ") <= 5
    assert extraction.facts == [], "a stored fact that the prompt omits is not stored again"
