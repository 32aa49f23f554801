"""The terms of a text, and their stored form."""

import os
import subprocess
import sys
from array import array

from hypothesis import given
from hypothesis import strategies as st

from converse_stream.store import search_terms
from converse_stream.store.facts import SearchableFact, _searchable
from converse_stream.store.search_terms import ATTRIBUTE, MAX_CACHED, pack, terms_of

TEXT = "The user's dog Krümel limps. 我的狗 मंज़िल"
STORED = (  # by version 1 of the rule: if it changes, ATTRIBUTE must change too
    "0615db165d26c732f0337d399e3a8e3d6b4d984d5058a56214638e67e66de98091c422c76aca4bcc11d841e194f37af570fc46fe"
)


@given(st.text(max_size=200))
def test_stored_terms_are_the_computed_ones(text: str) -> None:
    assert set(array("H", pack(terms_of(text)))) == terms_of(text)
    assert len(pack(terms_of(text))) <= 4 * max(1, len(text)) * 18  # U+FDFA has 18 letters


def test_terms_have_not_changed_without_their_attribute() -> None:
    """In another process, because Python's `hash` differs there."""
    code = f"from converse_stream.store.search_terms import *; print(ATTRIBUTE, pack(terms_of({TEXT!r})).hex())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    assert printed.stdout.decode().split() == ["terms1", STORED]


def test_equal_words_have_equal_terms_in_any_spelling() -> None:
    for spellings in (
        ("Straße", "STRASSE", "strasse"),
        ("café", "cafe\u0301", "CAFE", "ｃａｆé"),
        ("カメラ", "ｶﾒﾗ", "かめら"),
        ("أحمد", "احمد", "أَحْمَد", "أحـمد"),
        ("हूँ", "हूं"),
    ):
        assert len({frozenset(terms_of(each)) for each in spellings}) == 1, spellings


def test_punctuation_and_emoji_are_no_terms() -> None:
    assert terms_of("¿?… 🙂 — ।") == set()
    assert terms_of("don\u2019t") == terms_of("don't") == terms_of("don t")


def test_terms_of_another_version_are_not_read() -> None:
    item = {"sk": "F#1", "text": "has a dog", "ts": "2026"}
    assert _searchable(item | {"terms0": b"12"}) == SearchableFact("1", "has a dog", created_at="2026")
    assert _searchable(item | {ATTRIBUTE: b"12"}).terms == b"12"


def test_cache_of_characters_is_limited() -> None:
    for start in range(0x20, 0x30000, 1_000):
        terms_of("".join(map(chr, filter(lambda code: not 0xD800 <= code < 0xE000, range(start, start + 1_000)))))
    assert len(search_terms._FOLDING) == MAX_CACHED
    assert terms_of("Krümel") == terms_of("krumel")
