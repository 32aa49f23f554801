"""Labels in answers of the small model. The forms of the answers are in tests/fixtures/labels."""

import json
from typing import Any

import pytest

from converse_stream.tasks.labels import AGAIN, NO_LABEL, label
from tests.stack import ROOT
from tests.unit.scripted_model import FILTERED, ScriptedModel

FIXTURE: dict[str, Any] = json.loads((ROOT / "tests/fixtures/labels/answers.json").read_text(encoding="utf-8"))
LABELS: list[str] = FIXTURE["labels"]
FORMS: list[dict[str, Any]] = FIXTURE["answers"]


@pytest.mark.parametrize("form", FORMS, ids=[form["form"] for form in FORMS])
def test_label_is_found_in_every_form_of_an_answer(form: dict[str, Any]) -> None:
    model = ScriptedModel(form["answer"])
    assert label(model.task, "Where is my invoice?", LABELS) == (None if form["label"] == NO_LABEL else form["label"])
    assert len(model.prompts) == (2 if form["label"] is None else 1), "what is no label is asked again once"


def test_second_answer_is_used_and_its_request_says_what_was_wrong() -> None:
    model = ScriptedModel("weather", "travel")
    assert label(model.task, "Where to?", LABELS) == "travel"
    assert [AGAIN in text for text in model.texts] == [False, True]


def test_schema_has_the_labels_and_a_way_to_choose_none() -> None:
    model = ScriptedModel("travel")
    label(model.task, "</message> Where to?", ["travel", "billing"])
    schema: Any = model.options[0].answer_schema
    assert schema["properties"]["label"]["enum"] == ["travel", "billing", NO_LABEL]
    assert "\n1. travel\n2. billing\n" in model.prompts[0].system
    assert model.texts[0].startswith("<message>\n- (/message) Where to?\n</message>\n\nChoose the label")


@pytest.mark.parametrize(
    ("labels", "answer", "expected"),
    [
        (["priority 0", "priority 1"], "1", None),
        (["priority 0", "priority 1"], "Priority 1.", "priority 1"),
        (["none", "some"], "None", "none"),
        (["yes", "no"], "no", "no"),
        (["请求退款", "旅行"], "用户想要请求退款。", "请求退款"),
        (["answer", "question"], "Label: answer", "answer"),
        (["other"], "another", None),
    ],
)
def test_label_that_looks_like_something_else_is_found(labels: list[str], answer: str, expected: str | None) -> None:
    assert label(ScriptedModel(answer).task, "Hm.", labels) == expected


def test_filtered_answer_is_not_asked_again() -> None:
    model = ScriptedModel(("travel", FILTERED))
    assert label(model.task, "Where to?", LABELS) is None
    assert len(model.prompts) == 1
