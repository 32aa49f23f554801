"""The estimate of tokens is near the counts of public tokenizers, for any kind of text and in any parts."""

import json
from pathlib import Path
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.protocol.tokens import TokenCounter, estimate_tokens

FOLDER = Path("tests/fixtures/token_counts")
COUNTS: dict[str, dict[str, int]] = json.loads((FOLDER / "counts.json").read_text(encoding="utf-8"))
SAMPLES = {name: (FOLDER / name).read_text(encoding="utf-8") for name in COUNTS}
KINDS = sorted({name.partition("-")[0] for name in COUNTS})

any_character = st.characters(exclude_categories=())  # lone surrogates too
passages = st.builds(
    lambda text, start, size: text[start : start + size],
    st.sampled_from(list(SAMPLES.values())),
    st.integers(0, 3_000),
    st.integers(0, 60),
)
texts = st.lists(st.text(any_character, max_size=5) | passages, max_size=8)


@pytest.mark.parametrize("kind", KINDS)
def test_estimate_is_within_20_percent_of_the_mean_of_the_tokenizers(kind: str) -> None:
    names = [name for name in COUNTS if name.partition("-")[0] == kind]
    errors = [abs(estimate_tokens(SAMPLES[name]) / mean(COUNTS[name].values()) - 1) for name in names]
    assert mean(errors) < (0.25 if kind == "vietnamese" else 0.2)  # whose counts differ by a factor of 2.5


def test_each_sample_has_counts() -> None:
    assert sorted(COUNTS) == sorted(path.name for path in FOLDER.glob("*.txt"))


@given(texts)
def test_parts_have_the_tokens_of_the_whole_text(parts: list[str]) -> None:
    counter = TokenCounter()
    for part in parts:
        counter.add(part)
    assert counter.tokens == estimate_tokens("".join(parts))


@given(texts, st.integers(0, 400))
def test_longer_text_never_has_fewer_tokens(parts: list[str], length: int) -> None:
    text = "".join(parts)
    assert estimate_tokens(text[:length]) <= estimate_tokens(text)


def test_empty_text_has_no_tokens_and_any_other_has_some() -> None:
    assert (estimate_tokens(""), TokenCounter().tokens) == (0, 0)
    assert all(estimate_tokens(text) >= 1 for text in ("a", "  ", "\n", "\0", "7", ".", "é", "я", "河", "🌊", "\ud83d"))
