"""Excerpts and pieces of long texts."""

import pytest

from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.tasks.excerpts import excerpt, split


@pytest.mark.parametrize(
    "word", ["word ", "слово ", "词", "link" * 1_250 + " "], ids=["ASCII", "Cyrillic", "CJK", "long"]
)
def test_pieces_have_the_whole_text_and_are_almost_full(word: str) -> None:
    text = word * (40_000 // len(word))
    pieces = list(split(text, 2_000))
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")
    assert all(estimate_tokens(piece) <= 2_000 for piece in pieces)
    assert all(estimate_tokens(piece) > 1_800 for piece in pieces[:-1])


def test_excerpt_has_the_head_and_the_tail_without_parts_of_words() -> None:
    short = excerpt("first " + "word " * 1_000 + "last", 50)
    assert estimate_tokens(short) <= 50
    assert set(short.split()) == {"first", "word", "[…]", "last"}
    assert excerpt("first word", 50) == "first word"
