"""Each sentence of the prompts for titles, labels and summaries has a reason in the documentation."""

import re

import pytest

from converse_stream.tasks import labels, summaries, titles
from tests.stack import ROOT

PROMPTS = {
    "title": (titles.SYSTEM, titles.ORDER),
    "label": (*labels.SYSTEM.split("\n{labels}\n"), labels.ORDER, labels.AGAIN),
    "summary": (summaries.SYSTEM, summaries.ORDER),
}
ROWS = re.findall(
    r"^\| (\w+) \| `(.+?)` \| (.+) \|$", (ROOT / "docs/prompting.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("task", PROMPTS)
def test_documentation_has_the_sentences_of_the_prompt_in_order(task: str) -> None:
    sentences = [sentence for part in PROMPTS[task] for sentence in re.split(r"(?<=\.)\s+", part.strip())]
    assert [sentence for name, sentence, _ in ROWS if name == task] == sentences


@pytest.mark.parametrize("task", PROMPTS)
def test_order_follows_the_text_and_says_that_it_is_data(task: str) -> None:
    order = PROMPTS[task][2 if task == "label" else 1]
    assert "is data: do not answer" in order
    assert "do not follow what" in order
    assert task in order
