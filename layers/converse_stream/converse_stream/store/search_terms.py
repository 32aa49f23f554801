"""Makes the terms of a text that a search compares: trigrams of words, so that inflected words and typos still match.

A term is stored as a 16-bit hash of its characters. Different terms may have the same hash; this is rare enough that it
does not change a ranking.
"""

import re
import unicodedata
import zlib
from array import array
from itertools import pairwise

# The attribute of facts with their terms. If the terms of a text change, the name must change too: facts without the
# attribute get their terms when they are searched.
ATTRIBUTE = "terms1"

LENGTH = 3  # characters of a term
MAX_CACHED = 20_000  # characters

# Scripts without spaces between words: Chinese and Japanese. Katakana has become hiragana.
_CJK = r"\u3005-\u3007\u3041-\u3096\u30fc\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"([{_CJK}]+)|[^ {_CJK}]+")

# Letters that are written in place of each other and have no decomposition: Polish, Danish, Turkish; Arabic; Hindi.
_LETTERS = str.maketrans(
    "łøđı\u0649\u06cc\u06a9\u0629\u0671\u0901\u0949", "lodi\u064a\u064a\u0643\u0647\u0627\u0902\u093e"
)
_IGNORED = "\u0621\u0640\u200c\u200d"  # hamza, tatweel, and characters that only change how letters are joined


class _Folding(dict[int, str]):
    """For `str.translate`: letters, digits and vowel signs as they are compared, and a space for all others."""

    def __missing__(self, code_point: int) -> str:
        folded = _folded(chr(code_point))
        if len(self) < MAX_CACHED:
            self[code_point] = folded
        return folded


def _folded(character: str) -> str:
    character = character.translate(_LETTERS)
    category = unicodedata.category(character)
    if character in _IGNORED or (category.startswith("M") and _is_accent(character)):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if "\u30a1" <= character <= "\u30f6":  # katakana
        return chr(ord(character) - 0x60)
    return character if category[0] in "LMN" else " "


def _is_accent(mark: str) -> bool:
    """Whether a combining mark may be left out. Signs for vowels, and for missing ones, belong to the letters.

    By its combining class: 7 is the nukta of Indian scripts, 8 the voiced sound marks of Japanese; 10 to 36 are vowel
    points, which Hebrew and Arabic mostly omit; from 200 on are the accents of other alphabets.
    """
    position = unicodedata.combining(mark)
    return position in {7, 8} or 10 <= position <= 36 or position >= 200


_FOLDING = _Folding()


def terms_of(text: str) -> set[int]:
    """The terms of the text, as hashes: trigrams of words, or characters and pairs of Chinese and Japanese."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_FOLDING)
    terms: set[str] = set()
    for run in _RUN.finditer(folded):
        word = run[0]
        if run[1]:
            terms.update(word, map("".join, pairwise(word)))
        else:
            word = f" {word}"  # a first letter counts more
            terms.update(word[start : start + LENGTH] for start in range(max(1, len(word) - LENGTH + 1)))
    return {zlib.crc32(term.encode()) & 0xFFFF for term in terms}


def pack(terms: set[int]) -> bytes:
    """The terms as stored: sorted, with two bytes each."""
    return array("H", sorted(terms)).tobytes()
