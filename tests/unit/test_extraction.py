"""What is found in a message, by what the small model makes of it."""

import json
from typing import Any

import pytest

from converse_stream.tasks.extraction import (
    MAX_FACTS,
    MAX_MESSAGE,
    Extraction,
    extract,
)

SAILS = {"text": "The user sails.", "kind": "fact", "confidence": 0.9}


class Ask:
    """A model that says one thing, and what it was asked."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.message = self.facts = ""

    def __call__(self, _: str, text: str, __: int, *, facts: str = "") -> str:
        self.message, self.facts = text, facts
        return self.said


def found(said: str, message: str = "I sail.", known: tuple[str, ...] = ()) -> Extraction:
    ask: Any = Ask(said)
    return extract(ask, message, known, tokens=100, max_chars=500)


def texts(said: str) -> list[str]:
    return [fact.text for fact in found(said).facts]


@pytest.mark.parametrize(
    "odd",
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
def test_one_that_is_no_fact_costs_no_other(odd: Any) -> None:
    assert texts(json.dumps({"facts": [odd, SAILS]})) == ["The user sails."]


@pytest.mark.parametrize("said", ["no JSON", "{", "[]", '{"facts": "many"}', "[" * 500, ""])
def test_what_is_no_such_json_is_nothing(said: str) -> None:
    assert found(said) == Extraction([], None)


def test_of_an_answer_that_was_cut_the_whole_facts_count() -> None:
    said = json.dumps({"facts": [SAILS, {**SAILS, "text": "The user rows."}], "assistant": None})
    for end in range(len(said)):
        assert texts(said[:end]) in ([], ["The user sails."], ["The user sails.", "The user rows."])
    assert texts(said[: said.index("rows")]) == ["The user sails."]


def test_there_are_not_too_many_of_one_message() -> None:
    many = [{**SAILS, "text": f"The user has {count} boats."} for count in range(9)]
    assert len(texts(json.dumps({"facts": many}))) == MAX_FACTS


def test_the_same_words_are_one_fact() -> None:
    twice = found(json.dumps({"facts": [SAILS, {**SAILS, "text": "the user SAILS"}]}))
    [fact] = twice.facts
    [shouted] = found(json.dumps({"facts": [{**SAILS, "text": "The USER: sails!"}]})).facts
    assert fact.id == shouted.id
    [other] = found(json.dumps({"facts": [{**SAILS, "text": "The user rows."}]})).facts
    assert fact.id != other.id


@pytest.mark.parametrize(
    ("message", "name", "taken"),
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
def test_the_assistant_s_name_is_a_word_of_the_user_s(message: str, name: Any, taken: bool) -> None:
    extraction = found(json.dumps({"facts": [SAILS], "assistant": name}), message)
    assert (extraction.assistant is not None) == taken
    assert len(extraction.facts) == 1


def test_a_long_message_is_read_to_a_point_and_of_many_facts_the_nearest_are_shown() -> None:
    known = [f"The user's boat number {number} is blue." for number in range(50)]
    ask: Any = Ask(json.dumps({"facts": [{**SAILS, "text": known[30].upper()}]}))
    extraction = extract(ask, "boat number 7 " + "and so on " * 2_000, known, tokens=40, max_chars=500)
    assert len(ask.message) == MAX_MESSAGE
    assert "- The user's boat number 7 is blue." in ask.facts
    assert 1 <= ask.facts.count("\n- ") <= 5
    assert extraction.facts == [], "what is not shown is known all the same"
