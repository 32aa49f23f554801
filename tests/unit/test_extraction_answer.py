"""The model's answer to an extraction, in every form that has a clear meaning."""

import json
from pathlib import Path
from typing import Any

import pytest

from converse_stream.tasks.extraction_answer import Answer, AnsweredFact, read

FIXTURE = Path(__file__).parents[1] / "fixtures/extraction_answers.json"
CASES = json.loads(FIXTURE.read_text(encoding="utf-8"))
SAILS = {"text": "The user sails.", "kind": "fact", "confidence": 0.9}


def facts_of(answer: Any) -> tuple[AnsweredFact, ...]:
    parsed = read(answer if isinstance(answer, str) else json.dumps(answer))
    assert parsed is not None
    return parsed.facts


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_facts_are_read_from_every_form(case: dict[str, Any]) -> None:
    facts = [fact for fact in facts_of(case["answer"]) if fact.confidence >= 0.5]
    assert list(dict.fromkeys(fact.text for fact in facts)) == case["facts"]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "There is nothing to learn.",
        "{",
        '{"facts": [',
        '{"facts": [{"text": "The us',
        '{"facts": "many"}',
        '{"answer": 42}',
        "[1]",
        "[" * 500,
        "{[" * 5_000,
        "{" * 200_000,
        "\\" * 5_000,
    ],
    ids=lambda answer: f"{answer[:20]} of {len(answer)}",
)
def test_answer_without_a_clear_meaning_is_unreadable(answer: str) -> None:
    assert read(answer) is None


@pytest.mark.parametrize(
    "invalid",
    [
        {"text": " ", "confidence": 0.9},
        {"text": 7, "confidence": 0.9},
        {"text": "The user rows.", "confidence": -1},
        {"text": "The user rows.", "confidence": 10**400},
        {"text": "The user rows.", "confidence": float("nan")},
        {"text": "The user rows.", "confidence": "who knows"},
        {"text": "The user rows.", "confidence": True},
        {"kind": "fact"},
        7,
        None,
    ],
)
def test_invalid_fact_is_skipped_and_the_others_are_kept(invalid: Any) -> None:
    assert [fact.text for fact in facts_of({"facts": [invalid, SAILS]})] == ["The user sails."]


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [(0.9, 0.9), (1, 1), (90, 0.9), ("90%", 0.9), ("90 %", 0.9), ("0,5", 0.5), ("High", 0.9), ("low", 0.3), (0, 0)],
)
def test_confidence_is_read_as_a_share(confidence: Any, expected: float) -> None:
    assert facts_of({"facts": [{**SAILS, "confidence": confidence}]})[0].confidence == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("fact", "fact"), ("Preference", "preference"), (" preferences", "preference"), ("hobby", "fact"), (None, "fact")],
)
def test_kind_is_fact_or_preference(kind: Any, expected: str) -> None:
    assert facts_of([{**SAILS, "kind": kind}])[0].kind == expected


@pytest.mark.parametrize(
    ("value", "numbers"),
    [([1, 3], (1, 3)), (2, (2,)), ("[fact 2]", (2,)), (["1", 2.0], (1, 2)), ([None, True, 1.5, "x"], ()), (None, ())],
)
def test_numbers_of_known_facts_are_read(value: Any, numbers: tuple[int, ...]) -> None:
    assert read(json.dumps({"facts": [{**SAILS, "replaces": value}], "outdated": value})) == Answer(
        (AnsweredFact("The user sails.", "fact", 0.9, numbers),), numbers
    )


def test_lone_surrogate_is_replaced() -> None:
    """A text with a lone surrogate cannot be stored."""
    [fact] = facts_of('{"facts": [{"text": "The user sails \\ud83d.", "confidence": 1}]}')
    assert fact.text == "The user sails \ufffd."


def test_truncated_number_is_ignored() -> None:
    """The start of 12 is 1, which is another fact."""
    cut = json.dumps({"facts": [{**SAILS, "replaces": [3, 12]}], "outdated": [4, 12]})
    before, after = cut[: cut.index("12]") + 1], cut[: cut.rindex("12]") + 1]
    assert read(before) == Answer((AnsweredFact("The user sails.", "fact", 0.9, (3,)),))
    assert read(after) == Answer((AnsweredFact("The user sails.", "fact", 0.9, (3, 12)),), (4,))


def test_truncated_answer_gives_its_complete_facts() -> None:
    answer = json.dumps({"facts": [SAILS, {**SAILS, "text": "The user rows."}], "outdated": [], "assistant": ""})
    for end in range(len(answer)):
        parsed = read(answer[:end]) or Answer()
        assert [fact.text for fact in parsed.facts] in (
            [],
            ["The user sails."],
            ["The user sails.", "The user rows."],
        )
    assert [fact.text for fact in facts_of(answer[: answer.index("rows")])] == ["The user sails."]
