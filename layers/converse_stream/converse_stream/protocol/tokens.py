"""Estimates of token counts, without a tokenizer.

Each model has its own tokenizer, and most of them are not public. A tokenizer splits a text at changes between words,
numbers, punctuation and scripts, and then splits rare words. So the estimate is a sum of weights: the weight of a
character depends on its kind and on the kind of the character before it. The weights were fitted to the mean of three
public tokenizers, on the samples in tests/fixtures/token_counts and on source code, documents and random data.
"""

from dataclasses import dataclass

UNITS = 100  # the weights are in hundredths of a token, up to 255


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of characters. `lead` has the first byte of each of them in UTF-8.

    `first` is the weight of the first character of a run of this kind, `next` that of each character after it.
    """

    lead: bytes
    first: int
    next: int


NEWLINE, SPACE, LOWER, UPPER, LATIN = range(5)
KINDS = (
    Kind(b"\r\n", 35, 35),
    Kind(b" \t", 0, 5),  # a single space belongs to the word after it
    Kind(b"abcdefghijklmnopqrstuvwxyz", 30, 20),
    Kind(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", 40, 30),
    Kind(bytes(range(0xC3, 0xCD)), 150, 150),  # Latin letters with diacritics: few tokens contain them
    Kind(b"0123456789", 145, 35),
    Kind(b"\"',:;.(){}[]<>=-*_#~", 60, 10),  # many runs are one token, such as `":{` and `-----`
    Kind(b"!$%&+/?@\\^`|", 80, 100),
    Kind(bytes(range(0xD0, 0xD4)), 100, 25),  # Cyrillic
    Kind(b"\xcd\xce\xcf\xd4\xd5\xd6\xd7", 200, 50),  # Greek, Armenian, Hebrew
    Kind(bytes(range(0xD8, 0xE0)), 130, 47),  # Arabic
    Kind(b"\xe0", 80, 87),  # scripts of India, Thai, Lao
    Kind(b"\xe3", 80, 75),  # Japanese kana
    Kind(bytes(range(0xE4, 0xEE)), 110, 80),  # Chinese characters, Korean syllables
    Kind(bytes(range(0xF0, 0xF8)), 250, 250),  # emoji
)
OTHER = Kind(b"", 100, 100)  # other scripts and symbols
EXCEPTIONS = {
    (NEWLINE, SPACE): 80,  # indentation
    (SPACE, LOWER): 40,
    (UPPER, LOWER): 45,  # as in `Word`
    (LOWER, UPPER): 130,  # as in `camelCase`
    (LATIN, LOWER): 115,
}

_CONTINUATION = bytes(range(0x80, 0xC0))  # the bytes of UTF-8 that do not begin a character


def _kind_numbers() -> bytes:
    """A table for `bytes.translate`: from a byte that begins a character to the number of its kind, 0 to 15."""
    numbers = bytearray([len(KINDS)] * 256)
    for number, kind in enumerate(KINDS):
        for byte in kind.lead:
            numbers[byte] = number
    return bytes(numbers)


def _pair_weights() -> bytes:
    """A table for `bytes.translate`: from 16 * kind of the previous character + kind of the character to its weight."""
    kinds = (*KINDS, OTHER)
    return bytes(
        EXCEPTIONS.get((before, number), kind.next if number == before else kind.first)
        for before in range(16)
        for number, kind in enumerate(kinds)
    )


_KINDS, _WEIGHTS = _kind_numbers(), _pair_weights()


class TokenCounter:
    """Counts the tokens of a text that arrives in parts. The parts have the same total as the whole text."""

    def __init__(self) -> None:
        self._units = 0
        self._last = bytes([NEWLINE])

    def add(self, text: str) -> None:
        """Counts one more part."""
        kinds = self._last + text.encode(errors="surrogatepass").translate(_KINDS, _CONTINUATION)
        # Shifted by half a byte, the kind of each character is in the upper half of the byte of the next one.
        number = int.from_bytes(kinds)
        pairs = (number | number >> 4).to_bytes(len(kinds))
        self._units += sum(pairs.translate(_WEIGHTS)[1:])
        self._last = kinds[-1:]

    @property
    def tokens(self) -> int:
        """The estimated tokens so far, rounded up."""
        return -(-self._units // UNITS)


def estimate_tokens(text: str) -> int:
    """The estimated tokens of a text, rounded up."""
    counter = TokenCounter()
    counter.add(text)
    return counter.tokens
