"""Texts that are never stored as facts: secrets, links and orders. Harmless facts that look similar are stored."""

import json
import re
from pathlib import Path

import pytest

from converse_stream.tasks.never_stored import refusal

TEXTS = json.loads((Path(__file__).parents[1] / "fixtures/never_stored.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", TEXTS["secrets"])
def test_secret_is_refused(text: str) -> None:
    assert refusal(text) not in (None, "order", "link")


@pytest.mark.parametrize("text", TEXTS["injections"])
def test_order_or_link_is_refused(text: str) -> None:
    assert refusal(text) in ("order", "link")


@pytest.mark.parametrize("text", TEXTS["harmless"])
def test_harmless_fact_is_not_refused(text: str) -> None:
    assert refusal(text) is None


@pytest.mark.parametrize(
    ("number", "refused"),
    [
        ("4111 1111 1111 1111", True),
        ("4111 1111 1111 1112", False),
        ("0000 0000 0000 0000", False),
        ("DE89 3704 0044 0532 0130 00", True),
        ("DE89 3704 0044 0532 0130 01", False),
        ("DE89 3704 0044 0532 0130", False),
        ("078-05-1120", True),
        ("000-05-1120", False),
    ],
)
def test_numbers_are_refused_only_with_valid_check_digits(number: str, *, refused: bool) -> None:
    assert (refusal(f"The user's number is {number}.") is not None) == refused


def test_patterns_of_the_operator_are_searched_for_in_visible_text() -> None:
    patterns = [re.compile(r"project\s+müller", re.IGNORECASE)]
    assert refusal("The user leads Pro\u200bject Mu\u0308ller.", patterns) == "pattern"
    assert refusal("The user leads Project Muller.", patterns) is None


def test_long_texts_are_checked_in_linear_time() -> None:
    """A pattern with exponential backtracking would exceed the timeout of a test."""
    for text in ("password for " * 40, "1 " * 250, "a." * 250, "ignore all " * 50, "ab12" * 125, "add " * 125):
        refusal(text)
