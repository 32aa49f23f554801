"""Which facts help with a question: three orders, fused by reciprocal rank. Pure, and without numpy.

- BM25 by shared words (https://en.wikipedia.org/wiki/Okapi_BM25);
- the cosine of embeddings, where both sides have one: by meaning;
- recency, which decides where nothing else does.

Reciprocal rank fusion (Cormack et al., SIGIR 2009) needs no scale that the three would share.
"""

import math
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import mul

from converse_stream.memory.sources import tokens_of
from converse_stream.store.facts import SearchableFact

K1, B = 1.2, 0.75  # BM25's usual saturation and length normalisation
FUSION = 60  # how little the first places of one order count against agreement of several
AGE_FUSION = 4 * FUSION  # what is new is not what helps: age counts for less

# Words; of scripts that put no spaces between them, single characters.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


# Twice as fast where there is one: Python 3.12.
_product = getattr(math, "sumprod", lambda one, other: sum(map(mul, one, other)))


def fitting(
    facts: Sequence[SearchableFact], tokens: int, order: Callable[[], Iterable[SearchableFact]]
) -> Sequence[SearchableFact]:
    """The facts that fit into `tokens`, labels included, in the order that they came in.

    Where not all do, those go first that `order` has first; it is not asked for before.
    """
    sizes = {fact.id: tokens_of(fact) for fact in facts}
    if sum(sizes.values()) <= tokens:
        return facts
    chosen = set()
    for fact in order():
        if sizes[fact.id] <= tokens:
            tokens -= sizes[fact.id]
            chosen.add(fact.id)
    return [fact for fact in facts if fact.id in chosen]


def ranked(facts: Sequence[SearchableFact], question: str, vector: bytes | None) -> list[SearchableFact]:
    """The facts, which come oldest first, by how much they help; `vector` is the question's embedding."""
    scores = [1 / (AGE_FUSION + age) for age in range(len(facts), 0, -1)]
    for order in (_by_words(facts, question), _by_meaning(facts, vector) if vector else []):
        for place, index in enumerate(order, 1):
            scores[index] += 1 / (FUSION + place)
    return [facts[index] for index in sorted(range(len(facts)), key=lambda index: -scores[index])]


def _by_words(facts: Sequence[SearchableFact], question: str) -> list[int]:
    """Indexes of the facts that share a word with the question, best first."""
    asked = set(_words(question))
    said = [_words(fact.text) for fact in facts]
    usual = sum(map(len, said)) / len(said)
    counts: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for index, words in enumerate(said):
        for word in asked.intersection(words):
            counts[word].append((index, words.count(word)))
    scores: defaultdict[int, float] = defaultdict(float)
    for found in counts.values():
        rarity = math.log(1 + (len(said) - len(found) + 0.5) / (len(found) + 0.5))
        for index, count in found:
            long = K1 * (1 - B + B * len(said[index]) / usual)
            scores[index] += rarity * count * (K1 + 1) / (count + long)
    return sorted(scores, key=lambda index: -scores[index])


def _by_meaning(facts: Sequence[SearchableFact], vector: bytes) -> list[int]:
    """Indexes of the facts with an embedding, nearest first. Vectors are of length 1: their product is the cosine."""
    asked = array("f", vector).tolist()
    cosines = {
        index: _product(asked, memoryview(fact.embedding).cast("f"))
        for index, fact in enumerate(facts)
        if fact.embedding and len(fact.embedding) == len(vector)
    }
    return sorted(cosines, key=cosines.__getitem__, reverse=True)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
